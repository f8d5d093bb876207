package proxy

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/copybuf"
	"github.com/modproxy/modproxy/proxy/internal/http1"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// answer passes the answer of the backend to the client.
func (p *passage) answer() error {
	h, resp := p.h, p.resp
	defer p.closeAnswer()
	p.reverse()
	if h.Via == ViaOn || h.Via == ViaFull {
		resp.Header["Via"] = p.via(resp.Header["Via"])
	}
	filter := exchange.HopByHopOf(resp.Header)
	upgrades := p.advertised()
	if h.ModifyResponse != nil {
		filter.Strip(resp.Header)
		if err := p.modify(); err != nil {
			return err
		}
	}
	if h.ErrorOverride != nil && h.ErrorOverride.applies(resp.StatusCode) {
		return p.override(upgrades)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 999 {
		return &exchange.Error{Op: exchange.OpHeader, Backend: p.record.Backend, Err: exchange.Malformed("%d is no status of a final answer", resp.StatusCode)}
	}
	if err := p.checkTrailer(exchange.OpHeader); err != nil {
		return err
	}
	if err := p.declare(); err != nil {
		return err
	}
	dst := p.w.Header()
	if h.ModifyResponse != nil {
		exchange.AddFields(dst, resp.Header) // what it has added is meant
	} else {
		filter.CopyTo(dst, resp.Header)
	}
	if _, ok := dst["Content-Type"]; !ok {
		dst["Content-Type"] = nil // or net/http would guess one from the body
	}
	p.closeIfUnread()
	p.advertise(upgrades)
	if empty := p.correctLength(dst); empty {
		p.writeHead(resp.StatusCode)
		if resp.Body != http.NoBody { // its end, by packets, may come behind the head
			_ = p.to.FlushError()
		}
		return nil
	}
	announced := p.announceTrailer(filter)
	p.writeHead(resp.StatusCode)
	if err := p.copyBody(); err != nil {
		return err
	}
	if err := p.checkLength(); err != nil {
		return err
	}
	if err := p.checkTrailer(exchange.OpBody); err != nil {
		return err
	}
	p.passTrailer(filter, announced)
	return nil
}

// correctLength has the length say what there is, also where ModifyResponse has
// changed the status: net/http cuts the client's connection when less or more is
// written. It reports whether the answer has no content.
func (p *passage) correctLength(dst http.Header) (empty bool) {
	switch code := p.resp.StatusCode; {
	case code == http.StatusResetContent: // RFC 9110 section 15.3.6
		dst["Content-Length"] = []string{"0"}
	case code == http.StatusNoContent, code == http.StatusNotModified:
		// The one must not have a length (RFC 9110 section 8.6), the other need
		// not, and some clients of HTTP/2 then miss a body.
		delete(dst, "Content-Length")
	case http1.NoContent(p.in.Method, code):
	case p.resp.Body == http.NoBody && len(dst["Content-Length"]) > 0:
		dst["Content-Length"] = []string{"0"} // it was that of a 304, or of HEAD
		return false
	default:
		return false
	}
	return true
}

// reverse maps what the answer says about its place back to the client's view.
func (p *passage) reverse() {
	h := p.h
	if len(h.reverse) > 0 {
		host := p.facts.Host
		if host == "" {
			host = h.serverName()
		}
		at, base, sent := p.out.URL, "", p.out.Host
		if r := p.resp.Request; r != nil && r.URL != nil {
			sent = r.Host
			at = r.URL // of the member that a balancer chose, whose path comes first
			if b, ok := strings.CutSuffix(at.EscapedPath(), p.out.URL.EscapedPath()); ok {
				base = b
			}
		}
		if sent == p.in.Host {
			sent = "" // the backend knows its public URLs
		}
		rewriteLocations(p.resp.Header, h.reverse, reverseView{
			frontScheme: p.facts.Scheme, frontHost: host, backendHost: at.Host, backendPath: base, sentHost: sent,
		})
	}
	if len(h.CookieDomains)+len(h.CookiePaths) > 0 {
		rewriteCookies(p.resp.Header, h.CookieDomains, h.CookiePaths)
	}
}

func (p *passage) via(prior []string) []string {
	element := p.viaElement()
	exchange.NoteOwnField(p.Context, "Via", element)
	if len(prior) > 0 {
		element = strings.Join(prior, ", ") + ", " + element
	}
	return p.one(element)
}

// writeHead sends the final head. The reason phrase is our own.
func (p *passage) writeHead(code int) {
	p.mu.Lock()
	p.final = true
	p.mu.Unlock()
	p.sent = true
	p.record.Status = code
	p.w.WriteHeader(code)
}

// closeIfUnread ends the client's connection after the answer if the rest of
// the request is not wanted: it must not be read as the next request.
func (p *passage) closeIfUnread() {
	if p.body.unread() && p.in.ProtoMajor == 1 {
		p.w.Header()["Connection"] = []string{"close"}
	}
}

// maxTrailers is how many fields the trailer of an answer may have. For each,
// net/http's HTTP/2 server looks through all of them.
const maxTrailers = 1000

// checkTrailer refuses a trailer with too many fields.
func (p *passage) checkTrailer(op exchange.Op) error {
	if len(p.resp.Trailer) > maxTrailers {
		return &exchange.Error{Op: op, Backend: p.record.Backend, Err: exchange.Malformed("trailer has more than %d fields", maxTrailers)}
	}
	return nil
}

// announceTrailer announces the trailer fields that are known by now.
func (p *passage) announceTrailer(filter exchange.HopByHop) int {
	n := 0
	for name := range p.resp.Trailer {
		if !filter.Has(name) && !exchange.ForbiddenTrailer(name) {
			p.w.Header().Add("Trailer", name)
			n++
		}
	}
	return n
}

// passTrailer sends the trailer fields, announced or not.
func (p *passage) passTrailer(filter exchange.HopByHop, announced int) {
	if len(p.resp.Trailer) == 0 {
		return
	}
	// A body without a byte may not have been chunked yet: flushing makes it
	// so, and a trailer possible.
	_ = p.to.FlushError()
	dst := p.w.Header()
	for name, values := range p.resp.Trailer {
		if filter.Has(name) || exchange.ForbiddenTrailer(name) {
			continue
		}
		if announced != len(p.resp.Trailer) {
			name = http.TrailerPrefix + name
		}
		for _, v := range values {
			dst.Add(name, v)
		}
	}
}

// copyBody passes the body on.
func (p *passage) copyBody() error {
	resp := p.resp
	if resp.Body == http.NoBody {
		return nil
	}
	streams := resp.ContentLength < 0 || syntax.MediaType(resp.Header["Content-Type"]) == "text/event-stream"
	// What a transport of ours returns flushes when it pauses; another's, and
	// what was put in its place, may not.
	own := !p.replaced && !(p.foreign && streams) && (p.declared < 0 || p.declared == resp.ContentLength)
	if wt, ok := resp.Body.(io.WriterTo); ok && own && (p.h.FlushInterval == 0 || streams) {
		n, err := wt.WriteTo(&p.to)
		p.record.ResponseBytes += n
		return p.copyError(err)
	}
	interval := p.h.FlushInterval
	switch {
	case streams:
		interval = -1
	case interval == 0:
		interval = flushDelay // such a body does not tell when it pauses
	}
	return p.copyError(p.copyPieces(interval))
}

// copyPieces copies a body that does not know how to write itself.
func (p *passage) copyPieces(interval time.Duration) error {
	lent := copybuf.Pool.Get().(*[copybuf.Size]byte)
	defer copybuf.Pool.Put(lent)
	dst := io.Writer(&p.to)
	if interval != 0 {
		fw := newFlushWriter(&p.to, interval)
		defer fw.stop()
		dst = fw
	}
	for {
		n, rerr := p.resp.Body.Read(lent[:])
		if err := p.tooLong(n); err != nil {
			return err
		}
		if n > 0 {
			m, werr := dst.Write(lent[:n])
			p.record.ResponseBytes += int64(m)
			if werr != nil {
				return werr
			}
		}
		if rerr == io.EOF {
			return nil
		}
		if rerr != nil {
			return rerr
		}
	}
}

// copyError tells an error of the backend, or of the body that took the place of
// its own, from one of writing to the client.
func (p *passage) copyError(err error) error {
	if err == nil {
		return nil
	}
	if p.to.stalls() || p.body != nil && p.body.wait.exceeded() {
		return &exchange.Error{Op: exchange.OpClient, Backend: p.record.Backend, Status: exchange.StatusClientClosedRequest, Err: exchange.ErrClientStalled}
	}
	var e *exchange.Error
	if errors.As(err, &e) {
		return err
	}
	// A body that fails leaves the client well. One that is too long for its head
	// is not the client's fault either.
	if !p.to.failed || errors.Is(err, http.ErrContentLength) || errors.Is(err, http.ErrBodyNotAllowed) {
		return p.classify(&exchange.Error{Op: exchange.OpBody, Backend: p.record.Backend, Err: err})
	}
	return &exchange.Error{Op: exchange.OpClient, Backend: p.record.Backend, Status: exchange.StatusClientClosedRequest, Err: errors.Join(exchange.ErrClientGone, err)}
}
