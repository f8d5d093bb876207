package exchange

import (
	"maps"
	"net/http"
)

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
	HopByHopOf(h).CopyTo(own, h)
	// No interim answer has a length. That the name is there makes the HTTP/2
	// server of net/http encode a copy: when the client resets the stream,
	// WriteHeader returns while the map that it was given is still being read.
	own["Content-Length"] = nil
	w.WriteHeader(code)
	clear(own)
	maps.Copy(own, final)
}
