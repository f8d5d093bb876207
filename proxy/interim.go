package proxy

import (
	"maps"
	"net/http"
	"net/textproto"
)

// interim passes an interim answer of the backend to the client.
func (p *passage) interim(code int, header textproto.MIMEHeader) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	passes := !p.final && p.inner.Load() == 0 && code != http.StatusContinue && p.in.ProtoAtLeast(1, 1)
	if p.logs(LevelTrace2) {
		p.h.Logger.Log(p.Context, LevelTrace2, "proxy: interim answer", "status", code, "passed", passes)
	}
	if passes { // net/http sends the 100 when the body is read
		WriteInterim(&p.to, code, http.Header(header))
		if p.to.stalls() {
			return ErrClientStalled
		}
	}
	return nil
}

// WriteInterim sends an interim answer (RFC 9110 section 15.2) with the fields
// of h that concern more than one connection. What w.Header holds is for the
// final answer, and is the same afterwards. It is for handlers and wrappers of a
// ResponseWriter that pass on what another has answered. Nothing is sent for a
// code that is none of an interim answer.
func WriteInterim(w http.ResponseWriter, code int, h http.Header) {
	if code < 100 || code > 199 || code == http.StatusSwitchingProtocols {
		return
	}
	own := w.Header()
	final := maps.Clone(own)
	clear(own)
	HopByHopOf(h).copyTo(own, h)
	// No interim answer has a length. That the name is there makes the HTTP/2
	// server of net/http encode a copy: when the client resets the stream,
	// WriteHeader returns while the map that it was given is still being read.
	own["Content-Length"] = nil
	w.WriteHeader(code)
	clear(own)
	maps.Copy(own, final)
}
