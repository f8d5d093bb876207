package proxy

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// finish completes the record, and answers or aborts if err says that the
// request failed.
func (p *passage) finish(err error) {
	if err != nil {
		p.record.Err = err
		var e *exchange.Error
		if p.record.Backend == "" && errors.As(err, &e) {
			p.record.Backend = e.Backend
		}
		if exchange.StatusOf(err) == exchange.StatusClientClosedRequest {
			p.record.Status = exchange.StatusClientClosedRequest
		} else if !p.sent {
			p.answerError(err)
		}
	}
	p.leave(err == nil || !p.sent && p.record.Status != exchange.StatusClientClosedRequest)
	aborts := err != nil && (p.sent || p.record.Status == exchange.StatusClientClosedRequest)
	p.record.Aborted = aborts
	p.report()
	if aborts {
		p.abort(err)
	}
}

// leave lets go of the client and of the bodies of its request, once.
func (p *passage) leave(answered bool) {
	if p.left {
		return
	}
	p.left = true
	if p.put != nil {
		_ = p.put.first.Close()
	}
	switch {
	case p.record.Upgraded:
	case p.body != nil:
		p.body.finish(answered)
		p.body.close()
	default:
		exchange.CloseBody(p.in)
	}
	p.to.end()
}

// answerError tells the client of a failure.
func (p *passage) answerError(err error) {
	p.mu.Lock()
	p.final = true // no interim answer may come in between any more
	p.mu.Unlock()
	p.closeIfUnread()
	status := exchange.StatusOf(err)
	p.record.Status = status
	exchange.AddErrorFields(p.w.Header(), err)
	if p.h.ErrorHandler != nil {
		p.h.ErrorHandler(p.w, p.in, err)
		return
	}
	exchange.WriteErrorPage(p.w, p.in, status)
}

// report gives the record to those who want it.
func (p *passage) report() {
	rec := &p.record
	rec.Duration = time.Since(rec.Start)
	if p.body != nil {
		rec.RequestBytes = p.body.read.Load()
	}
	p.mu.Lock()
	rec.Cache, rec.NotStored = p.cache, p.notStored
	p.mu.Unlock()
	rec.Client, rec.User = p.facts.Client, p.facts.User
	if p.outer != nil {
		p.outer.Take(rec)
	}
	level := exchange.LevelTrace1
	switch {
	case rec.Err == nil:
	case rec.BackendStatus != 0 && rec.Status != exchange.StatusClientClosedRequest: // there was an answer
		level = slog.LevelError
	default:
		level = exchange.LevelOf(rec.Status)
	}
	if p.logs(level) {
		p.h.Logger.Log(p.Context, level, "proxy: request done", "method", p.in.Method, "host", p.in.Host, "path", p.in.URL.Path, "result", rec)
	}
	if p.h.OnRecord != nil {
		p.h.OnRecord(p.in, rec)
	}
}

// logs reports whether something is logged at a level, so that what is not
// need not be put together.
func (p *passage) logs(level slog.Level) bool {
	return p.h.Logger != nil && p.h.Logger.Enabled(p.Context, level)
}

// logAnswer logs the head of the backend's answer: the status at trace3, and
// at trace4 the names of its fields, whose values may be secrets.
func (p *passage) logAnswer() {
	p.h.Logger.Log(p.Context, exchange.LevelTrace3, "proxy: backend answered", "backend", p.record.Backend, "status", p.resp.StatusCode, "reused", p.record.Reused)
	if p.logs(exchange.LevelTrace4) {
		p.h.Logger.Log(p.Context, exchange.LevelTrace4, "proxy: fields of the answer", "names", slices.Sorted(maps.Keys(p.resp.Header)))
	}
}

// abort cuts the client's connection, since its answer cannot be completed.
func (p *passage) abort(err error) {
	if p.h.Abort != nil {
		p.h.Abort(p.w, p.in, err)
		return
	}
	if p.sent && !p.in.ProtoAtLeast(1, 1) && p.w.Header()["Content-Length"] == nil {
		resetClient(p.w)
	}
	panic(http.ErrAbortHandler)
}

// resetClient closes the client's connection in a way that is no clean end:
// where nothing else marks the end of an answer, as in HTTP/1.0, the client
// could take a part for the whole.
func resetClient(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tc, ok := c.(*tls.Conn); ok {
		c = tc.NetConn() // without a close_notify
	}
	if lc, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = lc.SetLinger(0)
	}
	_ = c.Close()
}
