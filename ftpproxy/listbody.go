package ftpproxy

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// directory answers GET and HEAD for a directory, or for what a pattern selects
// of it.
func (x *attempt) directory(dir string, only *pattern) (*http.Response, *exchange.Error) {
	if err := x.s.changeDir(dir); err != nil {
		return x.refusedPath(phasePath, err)
	}
	return x.list(dir, only)
}

// list answers with the current directory.
func (x *attempt) list(dir string, only *pattern) (*http.Response, *exchange.Error) {
	p := x.newPage(dir, only)
	if x.r.Method == http.MethodHead {
		return respond(x.r, http.StatusOK, p.header(), http.NoBody, -1), nil
	}
	l, err := x.openList(only)
	if err != nil {
		if x.s.ctl.verb != "EPSV" && x.s.ctl.verb != "PASV" && x.refusedBy(err, 550, 551, 553) {
			return say(x.r, http.StatusForbidden, http.Header{}), nil // it is there
		}
		return x.refusedPath(phaseTransfer, err)
	}
	b := &listBody{x: x, l: l, p: p}
	return b.begin()
}

// listBody is the body of a listing: as it is rendered of what comes over the
// data connection.
type listBody struct {
	x     *attempt
	l     *lister
	p     page
	text  bytes.Buffer
	turn  turn
	ended error
}

// begin reads a listing up to the length at which it is no more sorted, but not
// for longer than a part of the time limit if there is something to show.
func (b *listBody) begin() (*http.Response, *exchange.Error) {
	var list []entry
	var err error
	begun, patience := time.Now(), b.x.c.Limits().Read/2
	for b.l != nil && err == nil && len(list) < sortedEntries {
		if len(list) > 0 && patience > 0 && time.Since(begun) > patience {
			break
		}
		var some []entry
		some, err = b.l.next()
		list = append(list, some...)
	}
	if err != nil && err != io.EOF {
		return nil, b.broken(exchange.OpHeader, err)
	}
	whole := err == io.EOF || b.l == nil
	if whole && b.l != nil {
		if perr := b.x.complete(exchange.OpHeader); perr != nil {
			return nil, perr
		}
	}
	if whole {
		sortEntries(list)
	}
	b.p.begin(&b.text)
	b.p.rows(&b.text, list)
	if !whole {
		return respond(b.x.r, http.StatusOK, b.p.header(), b, -1), nil
	}
	b.p.end(&b.text)
	return respond(b.x.r, http.StatusOK, b.p.header(), wholeBody(b.text.Bytes()), int64(b.text.Len())), nil
}

// broken words why the listing ended early.
func (b *listBody) broken(op exchange.Op, err error) *exchange.Error {
	return (&fileBody{x: b.x}).broken(op, err)
}

// Read returns io.EOF at the end of a complete listing, and a [*exchange.Error]
// when it is cut short.
func (b *listBody) Read(p []byte) (int, error) {
	if err := b.turn.enter(); err != nil {
		return 0, err
	}
	defer b.turn.leave(b.x)
	for b.text.Len() == 0 && b.ended == nil && len(p) > 0 {
		b.more()
	}
	if b.text.Len() == 0 {
		return 0, b.ended
	}
	return b.text.Read(p)
}

// more renders the next entries.
func (b *listBody) more() {
	list, err := b.l.next()
	switch {
	case err == nil:
		b.p.rows(&b.text, list)
		return
	case err != io.EOF:
		b.ended = b.x.fail(b.broken(exchange.OpBody, err))
		return
	}
	if perr := b.x.complete(exchange.OpBody); perr != nil {
		b.ended = b.x.fail(perr)
		return
	}
	b.p.rows(&b.text, list)
	b.p.end(&b.text)
	b.ended = io.EOF
	if !b.x.release(true) {
		b.text.Reset()
		b.ended = b.x.fail(&exchange.Error{Op: exchange.OpBody, Err: io.ErrUnexpectedEOF})
	}
}

// Close gives the connection back. It cannot be used again unless the whole
// listing was read.
func (b *listBody) Close() error {
	b.turn.close(b.x)
	return nil
}
