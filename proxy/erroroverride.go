package proxy

import (
	"net/http"
	"slices"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// ErrorOverride answers with a page of its own in place of the backend's for
// errors. The status stays, and so do the WWW-Authenticate of a 401 and the Upgrade
// of a 426; all else of the backend's answer is dropped. Apache: ProxyErrorOverride.
type ErrorOverride struct {
	// Codes are the status codes that it applies to. If empty, all from 400 to
	// 599.
	Codes []int

	// Page writes the answer. The first status that it writes is replaced by
	// the backend's, which [exchange.RecordFrom] its request's context tells as
	// BackendStatus. If nil, the answer is one plain sentence.
	Page http.Handler
}

func (o *ErrorOverride) applies(code int) bool {
	if len(o.Codes) == 0 {
		return 400 <= code && code < 600
	}
	return slices.Contains(o.Codes, code)
}

// override answers with the handler's own page.
func (p *passage) override(upgrades string) error {
	resp := p.resp
	if v := resp.Header["Www-Authenticate"]; v != nil && resp.StatusCode == http.StatusUnauthorized {
		p.w.Header()["Www-Authenticate"] = v
	}
	p.closeIfUnread()
	if resp.StatusCode == http.StatusUpgradeRequired {
		p.advertise(upgrades)
	}
	p.mu.Lock()
	p.final = true
	p.mu.Unlock()
	p.sent = true
	p.record.Status = resp.StatusCode
	if page := p.h.ErrorOverride.Page; page != nil {
		page.ServeHTTP(&statusWriter{ResponseWriter: p.w, code: resp.StatusCode}, p.in.WithContext(p))
		return nil
	}
	exchange.WriteErrorPage(p.w, p.in, resp.StatusCode)
	return nil
}

// statusWriter replaces the status that is written to it. An interim answer to
// the page is none to the request.
type statusWriter struct {
	http.ResponseWriter
	code  int
	wrote bool
}

func (w *statusWriter) WriteHeader(code int) {
	if code >= 200 && !w.wrote {
		w.wrote = true
		w.ResponseWriter.WriteHeader(w.code)
	}
}

func (w *statusWriter) Write(b []byte) (int, error) {
	w.WriteHeader(w.code)
	return w.ResponseWriter.Write(b)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
