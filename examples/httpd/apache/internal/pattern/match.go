package pattern

import "strings"

const (
	freeSteps = 2000    // and 16 a byte, before failures are noted
	maxNotes  = 1 << 23 // of failures
	maxSteps  = 1 << 20 // and 64 a byte, where failures cannot be noted
)

// choice is what to do when all else has failed.
type choice struct {
	pc, at int // where to go on; a pc below zero restores slot ^pc to at
	trail  int
}

// matcher is the work of matching one text.
type matcher struct {
	*program
	text  string
	slots []int
	stack []choice
	steps int
	limit int

	// Of each split and place, what is known: 0 nothing, -1 that all has failed
	// from there, n>0 that what stands apart matches from there up to n-1.
	notes []int32
	trail []int // the splits on the way, as places in notes
	over  bool  // too many steps
}

func (p *program) matcher(text string) *matcher {
	return &matcher{program: p, text: text, slots: make([]int, p.slots), limit: freeSteps + 16*len(text)}
}

func (p *program) match(text string, at int) []int { return p.matcher(text).from(at) }

// from finds the first match at a place or behind it.
func (m *matcher) from(start int) []int {
	for at := start; at <= len(m.text) && (at == 0 || !m.fixed); at++ {
		for i := range m.slots {
			m.slots[i] = -1
		}
		m.slots[0] = at
		m.stack, m.trail = m.stack[:0], m.trail[:0]
		end, ok := m.run(0, at, true)
		if m.over {
			if m.notes != nil {
				return nil
			}
			m.note()
			at-- // again
			continue
		}
		if ok {
			m.slots[1] = end
			return append([]int(nil), m.slots[:2*len(m.names)]...)
		}
	}
	return nil
}

// note begins to write failures down, or allows some more steps where that
// cannot be.
func (m *matcher) note() {
	size := m.splits * (len(m.text) + 1)
	m.notes = []int32{}
	m.limit = maxSteps + 64*len(m.text)
	if !m.backs && size <= maxNotes {
		m.notes = make([]int32, size)
		m.limit += 8 * len(m.insts) * (len(m.text) + 1)
	}
	m.steps, m.over = 0, false
}

// run matches from an instruction up to opDone, and returns where it ends. pure
// says that no groups are kept on the way.
func (m *matcher) run(pc, at int, pure bool) (end int, ok bool) {
	base, first, whole := len(m.stack), len(m.trail), pc == 0
	noting := len(m.notes) > 0
	for {
		if m.steps++; m.steps > m.limit {
			m.over = true
			return 0, false
		}
		in := &m.insts[pc]
		fits := true
		switch in.op {
		case opSet:
			if fits = at < len(m.text) && in.set.has(m.text[at]); fits {
				at++
			}
			pc++
		case opSplit:
			if noting {
				place := m.number[pc]*(len(m.text)+1) + at
				switch known := m.notes[place]; {
				case known < 0:
					fits = false
				case known > 0:
					m.settle(first, known, pure)
					m.stack = m.stack[:base]
					return int(known) - 1, true
				default:
					m.trail = append(m.trail, place)
				}
			}
			if fits {
				m.stack = append(m.stack, choice{in.y, at, len(m.trail)})
				pc = in.x
			}
		case opJump:
			pc = in.x
		case opSave:
			m.stack = append(m.stack, choice{^in.x, m.slots[in.x], -1})
			m.slots[in.x] = at
			pc++
		case opCheck:
			if pc++; m.slots[in.y] == at {
				pc = in.x
			}
		case opLook, opAtomic:
			to, found := m.apart(in, pc, at)
			if m.over {
				return 0, false
			}
			if fits = found != in.not; fits {
				if in.op == opAtomic {
					at = to
				}
				pc = in.x
			}
		case opBehind:
			at -= in.x
			fits = at >= 0
			pc++
		case opBack:
			from, to := m.slots[2*in.x], m.slots[2*in.x+1]
			if fits = from >= 0 && to >= from && len(m.text)-at >= to-from; fits {
				a, b := m.text[from:to], m.text[at:at+to-from]
				fits = a == b || in.fold && strings.EqualFold(a, b)
				at += to - from
				m.steps += to - from
			}
			pc++
		case opAssert:
			fits = m.holds(in.assert, at)
			pc++
		case opDone:
			if !whole {
				m.settle(first, int32(at)+1, pure)
			}
			return at, true
		}
		for !fits {
			if len(m.stack) == base {
				m.fail(first)
				return 0, false
			}
			c := m.stack[len(m.stack)-1]
			m.stack = m.stack[:len(m.stack)-1]
			if c.pc < 0 {
				m.slots[^c.pc] = c.at
				continue
			}
			m.fail(c.trail)
			pc, at, fits = c.pc, c.at, true
		}
	}
}

// fail notes that nothing came of the splits since a point of the trail.
func (m *matcher) fail(since int) {
	for _, place := range m.trail[since:] {
		m.notes[place] = -1
	}
	m.trail = m.trail[:since]
}

// settle notes that the splits since a point of the trail have led to an end.
func (m *matcher) settle(since int, end int32, pure bool) {
	if pure {
		for _, place := range m.trail[since:] {
			m.notes[place] = end
		}
	}
	m.trail = m.trail[:since]
}

// apart matches what stands apart. The choices inside of it are forgotten; the
// groups that it keeps are kept, unless it has to fail.
func (m *matcher) apart(in *inst, pc, at int) (end int, ok bool) {
	base := len(m.stack)
	end, ok = m.run(pc+1, at, in.pure)
	kept := m.stack[:base]
	if ok {
		undo := m.stack[base:]
		if in.not {
			for i := len(undo) - 1; i >= 0; i-- {
				if undo[i].pc < 0 {
					m.slots[^undo[i].pc] = undo[i].at
				}
			}
		} else {
			for _, c := range undo {
				if c.pc < 0 {
					kept = append(kept, c)
				}
			}
		}
	}
	m.stack = kept
	return end, ok
}

func (m *matcher) holds(a assertion, at int) bool {
	n := len(m.text)
	switch a {
	case textStart:
		return at == 0
	case textEnd:
		return at == n
	case textEndNewline:
		return at == n || at == n-1 && m.text[at] == '\n'
	case lineStart:
		return at == 0 || m.text[at-1] == '\n'
	case lineEnd:
		return at == n || m.text[at] == '\n'
	}
	edge := (at > 0 && isWord(m.text[at-1])) != (at < n && isWord(m.text[at]))
	return edge == (a == wordEdge)
}

func isWord(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || c == '_'
}
