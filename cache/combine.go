package cache

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/cache/store"
)

// errNotWorth is why a part is not added to what is stored.
var errNotWorth = errors.New("cache: part is small beside what would be copied for it")

// maxParts is how many parts of a body that do not touch are kept: all of them
// are looked at for each one that is added.
const maxParts = 256

// worthJoining reports whether the new part m may be added to old, all of which
// is copied for that: many small parts of something large would cost the square
// of it.
func worthJoining(old, m *store.Meta) bool {
	const little, most = 64 << 20, 16
	have := old.Stored()
	return have <= little || m.Stored() >= have/most
}

// commitPart stores a part of a body: alone, or joined with the parts of the
// same representation that are stored: RFC 9111 section 3.4.
func (f *flight) commitPart(ctx context.Context, m *store.Meta) error {
	c, s := f.c, f.body
	part := m.Parts[0]
	entries, err := c.store.Get(ctx, f.key)
	if err != nil {
		return err
	}
	var old []store.Entry
	for _, e := range entries {
		em := e.Meta()
		facts := c.policy.FactsOf(em)
		if !f.serves(em) {
			continue
		}
		switch {
		case rfc9111.Combinable(facts, em, f.told):
			if f.outOfDate(em.Tags) {
				return errNotWorth
			}
			if len(em.Parts) == 0 { // all of it is there
				s.writer.Abort()
				return c.store.Update(ctx, e, c.freshened(em, f.asked, f.told, f.sent, f.received))
			}
			if !worthJoining(em, m) {
				return errNotWorth
			}
			return f.join(ctx, e, em, part)
		case len(em.Parts) > 0:
			old = append(old, e)
		}
	}
	delete(m.Header, "Content-Range")
	delete(m.Header, "Content-Length")
	if part == (store.Part{Start: 0, End: m.Length}) {
		m.Parts, m.Status = nil, http.StatusOK
		m.Header["Content-Length"] = lengthField(m.Length)
	}
	return s.writer.Commit(m, old...)
}

// join stores the parts of an entry and the new one as one.
func (f *flight) join(ctx context.Context, e store.Entry, em *store.Meta, part store.Part) error {
	c, s := f.c, f.body
	m := c.policy.Combined(em, f.asked, f.told, f.sent, f.received)
	if len(m.Parts) > maxParts {
		return errNotWorth
	}
	m.TTL = f.meta.TTL // that of the newest part
	have := rfc9111.Coverage(em)
	w, err := c.store.Create(ctx, m)
	if err != nil {
		return err
	}
	defer w.Abort()
	body, err := e.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	for _, p := range rfc9111.Coverage(m) {
		for at := p.Start; at < p.End; {
			// What is new counts more than what was there.
			if part.Start <= at && at < part.End {
				if _, err := io.Copy(w, io.NewSectionReader(s.stored, at-part.Start, part.End-at)); err != nil {
					return err
				}
				at = part.End
				continue
			}
			end := p.End
			if at < part.Start {
				end = min(end, part.Start)
			}
			for _, q := range have {
				if q.Start <= at && at < q.End {
					end = min(end, q.End)
				}
			}
			if _, err := body.Seek(rfc9111.OffsetOf(have, at), io.SeekStart); err != nil {
				return err
			}
			if _, err := io.CopyN(w, body, end-at); err != nil {
				return err
			}
			at = end
		}
	}
	s.writer.Abort()
	return w.Commit(m, e)
}
