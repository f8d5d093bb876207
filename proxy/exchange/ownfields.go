package exchange

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// OwnFields are the lines that are added to the header of an answer on its way
// from the origin, for the client of one request: a balancer's route cookie, Via,
// what a cache tells of itself. Others must not get them, so a cache keeps the
// answer without them. They may be used by any goroutine.
type OwnFields struct {
	outer *OwnFields // of a cache in front

	mu    sync.Mutex // guards lines
	lines []ownLine
}

// OneRequest says that they are those of one request: see [Apart].
func (*OwnFields) OneRequest() {}

type ownLine struct{ name, value string }

type ownFieldsKey struct{}

// CollectOwnFields returns a context under which lines are noted in the
// OwnFields. A cache sends its requests under it.
func CollectOwnFields(ctx context.Context) (context.Context, *OwnFields) {
	o := new(OwnFields)
	o.outer, _ = ctx.Value(ownFieldsKey{}).(*OwnFields)
	return context.WithValue(ctx, ownFieldsKey{}, o), o
}

// NoteOwnField notes a line that was added to the header of the answer to the
// request that ctx belongs to, for the caches in front. The name is canonical.
// Whatever adds what is for one client only should call it.
func NoteOwnField(ctx context.Context, name, value string) {
	o, _ := ctx.Value(ownFieldsKey{}).(*OwnFields)
	for ; o != nil; o = o.outer {
		o.mu.Lock()
		o.lines = append(o.lines, ownLine{name, value})
		o.mu.Unlock()
	}
}

// Without returns a header without the lines that were noted: the answer as it
// came from the origin. It is h itself if there are none.
func (o *OwnFields) Without(h http.Header) http.Header {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.lines) == 0 {
		return h
	}
	h = maps.Clone(h)
	for _, own := range slices.Backward(o.lines) { // the last one stands at the end
		if lines := own.outOf(h[own.name]); len(lines) > 0 {
			h[own.name] = lines
		} else {
			delete(h, own.name)
		}
	}
	return h
}

// outOf returns the lines of a field without this one, which may have been added
// to the end of a list. Of a cookie, the attributes may have been mapped since.
func (l ownLine) outOf(lines []string) []string {
	cookie, _, _ := strings.Cut(l.value, ";")
	for i := len(lines) - 1; i >= 0; i-- {
		line := lines[i]
		if list, ok := strings.CutSuffix(line, ", "+l.value); ok && l.name != "Set-Cookie" {
			lines = slices.Clone(lines)
			lines[i] = list
			return lines
		}
		same := line == l.value
		if l.name == "Set-Cookie" {
			line, _, _ = strings.Cut(line, ";")
			same = line == cookie
		}
		if same {
			return slices.Delete(slices.Clone(lines), i, i+1)
		}
	}
	return lines
}
