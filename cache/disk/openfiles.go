package disk

import "os"

// Limits of one entry's share of what is kept open and decoded.
const idlePerBody = 8

// hotEntries are the entries of a shard that need not be looked up on the
// disk: decoded metadata and open files, those of the entries used last.
type hotEntries struct {
	byID         map[uint64]*entry
	first, last  *entry
	bytes, files int // cost of metadata, idle files

	maxBytes, maxFiles int
	closed             bool
}

func (h *hotEntries) init() { h.byID = map[uint64]*entry{} }

// add makes an entry hot, in the place of older metadata of it. It returns
// files to be closed, as drop and trim do: not under the lock.
func (h *hotEntries) add(e *entry) []*os.File {
	if h.closed {
		return nil
	}
	var idle []*os.File
	if was := h.byID[e.name.id]; was != nil && was.body != e.body { // read anew since e was found
		idle = h.drop(e.name.id)
	} else if was != nil {
		h.unlink(was)
	}
	h.byID[e.name.id] = e
	h.bytes += e.cost
	e.body.hot = true
	h.push(e)
	return append(idle, h.trim()...)
}

// use makes an entry the one used last.
func (h *hotEntries) use(e *entry) {
	if h.first != e {
		h.unlinkList(e)
		h.push(e)
	}
}

// drop forgets an entry.
func (h *hotEntries) drop(id uint64) []*os.File {
	e := h.byID[id]
	if e == nil {
		return nil
	}
	h.unlink(e)
	e.body.hot = false
	idle := e.body.idle
	e.body.idle = nil
	h.files -= len(idle)
	return idle
}

// trim drops entries until the limits are kept.
func (h *hotEntries) trim() (idle []*os.File) {
	for h.last != nil && (h.bytes > h.maxBytes || h.files > h.maxFiles) {
		idle = append(idle, h.drop(h.last.name.id)...)
	}
	return idle
}

// keep takes an open file of a body for the next reader, if there is room.
func (h *hotEntries) keep(b *bodyFile, f *os.File) []*os.File {
	if h.closed || !b.hot || len(b.idle) >= max(1, min(idlePerBody, h.maxFiles/2)) {
		return []*os.File{f}
	}
	b.idle = append(b.idle, f)
	h.files++
	return h.trim()
}

// take returns an open file of a body, or nil.
func (h *hotEntries) take(b *bodyFile) *os.File {
	n := len(b.idle)
	if n == 0 {
		return nil
	}
	f := b.idle[n-1]
	b.idle[n-1] = nil
	b.idle = b.idle[:n-1]
	h.files--
	return f
}

// close drops everything, for good.
func (h *hotEntries) close() (idle []*os.File) {
	h.closed = true
	for h.last != nil {
		idle = append(idle, h.drop(h.last.name.id)...)
	}
	return idle
}

func (h *hotEntries) push(e *entry) {
	e.up, e.down = nil, h.first
	if h.first != nil {
		h.first.up = e
	} else {
		h.last = e
	}
	h.first = e
}

// unlink takes an entry out, but leaves its body's files alone.
func (h *hotEntries) unlink(e *entry) {
	delete(h.byID, e.name.id)
	h.bytes -= e.cost
	h.unlinkList(e)
}

func (h *hotEntries) unlinkList(e *entry) {
	if e.up != nil {
		e.up.down = e.down
	} else {
		h.first = e.down
	}
	if e.down != nil {
		e.down.up = e.up
	} else {
		h.last = e.up
	}
	e.up, e.down = nil, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
