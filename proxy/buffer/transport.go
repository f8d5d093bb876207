package buffer

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// Defaults of the fields of a [Transport].
const (
	DefaultMemory = 64 << 10
	DefaultMax    = 1 << 30
)

// Transport sends requests to Next, and takes the answers off its hands as fast as
// the backend sends them. The zero value is ready for use. The fields must not be
// changed after first use; the methods may be called from any goroutine.
type Transport struct {
	// Next answers. If nil, a [proxy.Transport] of its own.
	Next http.RoundTripper

	// Memory is how many bytes of an answer that the client has not taken are
	// kept in memory; those beyond are kept in a temporary file. Zero means
	// 65536; negative keeps everything in files.
	Memory int64

	// Max is how many bytes of an answer that the client has not taken are kept
	// at all, in memory and in the file. Once there are so many, the backend waits
	// for the client. Zero means 1 GiB; negative means no limit.
	Max int64

	// Dir is where temporary files are made; they have no name there for longer
	// than a moment, where the system allows it. Empty means [os.TempDir].
	Dir string

	// Choose, if not nil, says which of the answers that have a body are kept,
	// streams among them; it must not read the body. If nil, all but streams: see
	// the package.
	Choose func(*http.Response) bool

	// Logger is told when a file cannot be written any more, at WARN, and when one
	// can again, at INFO. If nil, nothing is logged.
	Logger *slog.Logger

	own    proxy.Transport // used when Next is nil
	broken atomic.Bool     // the last file could not be written
}

// RoundTrip sends r to Next. The answer is that of Next, but for its body: that
// fails as it would without this Transport, behind all bytes that have come before.
// One that cannot be read from its file fails with an [*exchange.Error] with
// OpBody. The answer is read until r's context ends or its body is closed.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	next := t.Next
	if next == nil {
		next = &t.own
	}
	resp, err := next.RoundTrip(r)
	if err != nil || !t.keeps(r, resp) {
		return resp, err
	}
	out := *resp // what fills in the trailer does so while the client reads
	if resp.Trailer != nil {
		out.Trailer = resp.Trailer.Clone()
	}
	b := newBody(t, r.Context(), resp, &out)
	out.Body = b
	b.start()
	return &out, nil
}

// keeps reports whether the body of the answer is one that is kept.
func (t *Transport) keeps(r *http.Request, resp *http.Response) bool {
	switch {
	case resp == nil || resp.Body == nil || resp.Body == http.NoBody || resp.ContentLength == 0:
	case r.Method == http.MethodHead || r.Method == http.MethodConnect:
	case resp.StatusCode < 200 || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified:
	default:
		if _, conn := resp.Body.(io.Writer); conn {
			return false
		}
		if t.Choose != nil {
			return t.Choose(resp)
		}
		return !isStream(resp.Header)
	}
	return false
}

// isStream reports whether an answer may have no end, or must not be kept.
func isStream(h http.Header) bool {
	for _, v := range h["X-Accel-Buffering"] {
		if strings.EqualFold(syntax.TrimBlank(v), "no") {
			return true
		}
	}
	switch name := syntax.MediaType(h["Content-Type"]); name {
	case "text/event-stream", "multipart/x-mixed-replace":
		return true
	default:
		return strings.HasPrefix(name, "application/grpc")
	}
}

// CloseIdleConnections closes those of Next.
func (t *Transport) CloseIdleConnections() {
	t.own.CloseIdleConnections()
	if c, ok := t.Next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// limits are how many bytes are kept in memory, and at all.
func (t *Transport) limits() (memory, most int64) {
	most = exchange.Limit(t.Max, DefaultMax)
	switch {
	case t.Memory == 0:
		memory = DefaultMemory
	case t.Memory > 0:
		memory = t.Memory
	}
	return min(memory, most), most
}

// noteFile notes that a file was written, or why not.
func (t *Transport) noteFile(b *body, err error) {
	if t.broken.Swap(err != nil) == (err != nil) || t.Logger == nil {
		return
	}
	if err != nil {
		t.Logger.WarnContext(b.ctx, "buffer: answers cannot be kept in files; backends wait for clients", "error", err)
	} else {
		t.Logger.InfoContext(b.ctx, "buffer: answers are kept in files again")
	}
}
