package ftpproxy

import (
	"io"
	"net/http"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// put stores the body of the request: 201 for a new file, 204 for one that was
// there.
func (x *attempt) put() (*http.Response, *exchange.Error) {
	if x.r.Header.Get("Content-Range") != "" {
		return say(x.r, http.StatusBadRequest, http.Header{}), nil // RFC 9110 section 14.5: a part for the whole
	}
	if err := x.prepare(); err != nil {
		return nil, err
	}
	i, found, perr := x.stat(x.at.file())
	if perr != nil {
		return nil, perr
	}
	unknown := found && i.size < 0 && i.modified.IsZero() // whether it is there
	if _, only := field(x.r, "If-None-Match"); only && unknown {
		return say(x.r, http.StatusPreconditionFailed, http.Header{}), nil
	}
	if found = found && !unknown; found {
		if status := precondition(x.r, i); status != 0 {
			return say(x.r, status, http.Header{}), nil
		}
	} else if status := preconditionOfNothing(x.r); status != 0 {
		return say(x.r, status, http.Header{}), nil
	}
	if err := x.s.setType(x.at.kind == 'a'); err != nil {
		return nil, x.failed(phasePath, err)
	}
	body := &upload{x: x, r: x.r.Body, left: x.r.ContentLength}
	if body.r == nil {
		body.r = http.NoBody
	}
	err := x.s.ftp.Stor(guard(x.at.file()), body)
	x.s.stores(nil)
	if err != nil {
		return x.notStored(body, err)
	}
	if found {
		return say(x.r, http.StatusNoContent, http.Header{}), nil
	}
	return say(x.r, http.StatusCreated, http.Header{}), nil
}

// notStored tells the client's fault from the server's. What it began to store
// is taken away again: half a file must not pass for one.
func (x *attempt) notStored(body *upload, err error) (*http.Response, *exchange.Error) {
	ctl := x.s.ctl
	if body.begun && ctl.failure == nil && ctl.clean() {
		code, verb := ctl.code, ctl.verb
		_ = x.s.ftp.Delete(guard(x.at.file()))
		ctl.code, ctl.verb = code, verb
	}
	if body.err != nil {
		return nil, exchange.ClientBodyError(x.c.Backend().String(), body.err)
	}
	if body.begun && ctl.failure == nil && ctl.code >= 400 {
		// The library joins this to errors of writing to a server that refuses.
		e := x.refused(phaseStore)
		if e.Status < 500 || e.Status == http.StatusInsufficientStorage {
			return say(x.r, e.Status, http.Header{}), nil
		}
		return nil, e
	}
	if d := x.s.data; d != nil && d.unsent != nil && ctl.failure != nil && !exchange.IsTimeout(d.unsent) {
		return nil, &exchange.Error{Op: exchange.OpWrite, Resend: exchange.IsIdempotent(x.r), Err: d.unsent}
	}
	return x.refusedPath(phaseStore, err)
}

// upload is the body of a request on its way to the server.
type upload struct {
	x     *attempt
	r     io.ReadCloser
	left  int64 // zero or less at first: not known
	begun bool
	err   error // of the client's
}

// Read breaks the data connection off if the client does, since the server
// takes its regular end for the end of the file.
func (u *upload) Read(p []byte) (int, error) {
	if !u.begun {
		u.begun = true
		u.x.s.stores(u.r)
	}
	n, err := u.r.Read(p)
	if u.left > 0 {
		if u.left -= int64(n); err == io.EOF && u.left > 0 {
			err = exchange.ShortBody(u.left)
		}
	}
	if err != nil && err != io.EOF {
		u.err = err
		if d := u.x.s.data; d != nil {
			d.reset()
		}
	}
	return n, err
}

// delete removes a file.
func (x *attempt) delete() (*http.Response, *exchange.Error) {
	if err := x.prepare(); err != nil {
		return nil, err
	}
	i, found, perr := x.stat(x.at.file())
	if perr != nil {
		return nil, perr
	}
	if found {
		if status := precondition(x.r, i); status != 0 {
			return say(x.r, status, http.Header{}), nil
		}
	}
	err := x.s.ftp.Delete(guard(x.at.file()))
	if err == nil {
		return say(x.r, http.StatusNoContent, http.Header{}), nil
	}
	if found && x.refusedBy(err, 550, 551, 553) {
		return say(x.r, http.StatusForbidden, http.Header{}), nil // it is there
	}
	return x.refusedPath(phasePath, err)
}
