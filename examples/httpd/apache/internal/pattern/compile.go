package pattern

import "errors"

type op uint8

const (
	opSet    op = iota // one byte of set
	opSplit            // go on at x, or else at y
	opJump             // to x
	opSave             // the place in slot x
	opCheck            // to x if nothing was read since slot y was saved
	opLook             // what begins at the next instruction matches here; go on at x
	opAtomic           // the same, and go on at its end
	opBehind           // x bytes back
	opBack             // what group x matched
	opAssert           // a place
	opDone             // of the expression, or of a look or an atomic group
)

type inst struct {
	op     op
	x, y   int
	set    *set
	not    bool // of a look
	pure   bool // of a look or an atomic group: it keeps no groups
	fold   bool // of a backreference
	assert assertion
}

// program is a compiled expression.
type program struct {
	insts  []inst
	names  []string // of groups
	slots  int      // two a group, and one for each loop that may read nothing
	splits int      // how many there are
	number []int    // which one an instruction is
	backs  bool     // has backreferences
	added  int      // nodes, those of repeats again and again
	fixed  bool     // begins at the start of the text
}

func compile(text string) (*program, error) {
	root, names, err := parse(text)
	if err != nil {
		return nil, err
	}
	p := &program{names: names, slots: 2 * len(names)}
	if err := p.add(root); err != nil {
		return nil, err
	}
	p.emit(inst{op: opDone})
	p.fixed = p.insts[0].op == opAssert && p.insts[0].assert == textStart
	p.number = make([]int, len(p.insts))
	for i, in := range p.insts {
		if in.op == opSplit {
			p.number[i] = p.splits
			p.splits++
		}
	}
	return p, nil
}

func (p *program) emit(in inst) int {
	p.insts = append(p.insts, in)
	return len(p.insts) - 1
}

// add compiles a node.
func (p *program) add(n *node) error {
	if p.added++; p.added > maxProg {
		return errors.New("too large")
	}
	switch n.kind {
	case kindSet:
		p.emit(inst{op: opSet, set: n.set})
	case kindAssert:
		p.emit(inst{op: opAssert, assert: n.assert})
	case kindKeep:
		p.emit(inst{op: opSave})
	case kindBack:
		p.backs = true
		p.emit(inst{op: opBack, x: n.n, fold: n.fold})
	case kindCat:
		for _, part := range n.list {
			if err := p.add(part); err != nil {
				return err
			}
		}
	case kindAlt:
		return p.alternatives(n.list, p.add)
	case kindGroup:
		p.emit(inst{op: opSave, x: 2 * n.n})
		if err := p.add(n.list[0]); err != nil {
			return err
		}
		p.emit(inst{op: opSave, x: 2*n.n + 1})
	case kindRepeat:
		return p.repeat(n)
	case kindLook, kindAtomic:
		return p.apart(n)
	}
	return nil
}

func (p *program) alternatives(list []*node, add func(*node) error) error {
	var jumps []int
	for i, one := range list {
		split := -1
		if i < len(list)-1 {
			split = p.emit(inst{op: opSplit, x: len(p.insts) + 1})
		}
		if err := add(one); err != nil {
			return err
		}
		if split >= 0 {
			jumps = append(jumps, p.emit(inst{op: opJump}))
			p.insts[split].y = len(p.insts)
		}
	}
	for _, j := range jumps {
		p.insts[j].x = len(p.insts)
	}
	return nil
}

func (p *program) repeat(n *node) error {
	inner := n.list[0]
	for range n.min {
		if err := p.add(inner); err != nil {
			return err
		}
	}
	split := func() int { return p.emit(inst{op: opSplit}) }
	aim := func(at, body, out int) {
		p.insts[at].x, p.insts[at].y = body, out
		if n.lazy {
			p.insts[at].x, p.insts[at].y = out, body
		}
	}
	if n.max < 0 {
		at := split()
		slot := -1
		if lo, _ := inner.width(); lo == 0 {
			slot = p.slots
			p.slots++
			p.emit(inst{op: opSave, x: slot})
		}
		if err := p.add(inner); err != nil {
			return err
		}
		if slot >= 0 {
			p.emit(inst{op: opCheck, x: len(p.insts) + 2, y: slot})
		}
		p.emit(inst{op: opJump, x: at})
		aim(at, at+1, len(p.insts))
		return nil
	}
	var all []int
	for range n.max - n.min {
		all = append(all, split())
		if err := p.add(inner); err != nil {
			return err
		}
	}
	for _, at := range all {
		aim(at, at+1, len(p.insts))
	}
	return nil
}

// apart compiles a look or an atomic group.
func (p *program) apart(n *node) error {
	o := opLook
	if n.kind == kindAtomic {
		o = opAtomic
	}
	at := p.emit(inst{op: o, not: n.not, pure: !n.keeps()})
	list, add := []*node{n.list[0]}, p.add
	if n.behind {
		if n.list[0].kind == kindAlt {
			list = n.list[0].list
		}
		add = func(one *node) error {
			lo, hi := one.width()
			if lo != hi {
				return errors.New("a lookbehind has no fixed length")
			}
			p.emit(inst{op: opBehind, x: lo})
			return p.add(one)
		}
	}
	if err := p.alternatives(list, add); err != nil {
		return err
	}
	p.emit(inst{op: opDone})
	p.insts[at].x = len(p.insts)
	return nil
}

// keeps reports whether a group is kept inside.
func (n *node) keeps() bool {
	for _, one := range n.list {
		if one.keeps() {
			return true
		}
	}
	return n.kind == kindGroup || n.kind == kindKeep
}

const wide = 1 << 20 // more than any text that is looked behind at

// width returns how many bytes a node matches.
func (n *node) width() (lo, hi int) {
	switch n.kind {
	case kindSet:
		return 1, 1
	case kindBack:
		return 0, wide
	case kindLook, kindAssert, kindKeep:
		return 0, 0
	case kindAlt:
		lo, hi = n.list[0].width()
		for _, one := range n.list[1:] {
			l, h := one.width()
			lo, hi = min(lo, l), max(hi, h)
		}
		return lo, hi
	case kindRepeat:
		l, h := n.list[0].width()
		if hi = wide; n.max >= 0 {
			hi = min(wide, h*n.max)
		}
		return min(wide, l*n.min), hi
	}
	for _, one := range n.list {
		l, h := one.width()
		lo, hi = min(wide, lo+l), min(wide, hi+h)
	}
	return lo, hi
}
