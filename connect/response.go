package connect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// RefusedError is the answer of a parent proxy that opens no tunnel. It holds
// no credentials.
type RefusedError struct {
	StatusCode int
	Header     http.Header
	Body       []byte // the beginning, at most 64 KiB
	Truncated  bool   // there was more, or it broke off or did not come in time
}

// Error names the status.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("connect: parent proxy refused with %d", e.StatusCode)
}

const (
	maxRefusal = 64 << 10
	maxInterim = 9
)

// readAnswer reads the answer to a CONNECT. It returns nil when a tunnel is
// open, with r at its first byte, and a RefusedError when it is not. It calls
// refused before it reads the body of a refusal.
func readAnswer(r *bufio.Reader, limit int, refused func()) error {
	for range maxInterim + 1 {
		head, err := readHead(r, limit)
		if err != nil {
			return err
		}
		request := &http.Request{Method: http.MethodConnect}
		whole := io.MultiReader(bytes.NewReader(head), r)
		resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(whole, int64(len(head)))), request)
		switch {
		case err != nil:
			return fmt.Errorf("%w: of the parent proxy: %w", exchange.ErrMalformed, err)
		case resp.StatusCode/100 == 2:
			return nil // its length, if it names one, means nothing: RFC 9110 section 9.3.6
		case resp.StatusCode == http.StatusSwitchingProtocols || resp.StatusCode < 100:
			return fmt.Errorf("%w: the parent proxy answered %d", exchange.ErrMalformed, resp.StatusCode)
		case resp.StatusCode >= 300:
			refused()
			return refusal(head, r)
		}
	}
	return fmt.Errorf("%w: the parent proxy sent too many interim answers", exchange.ErrMalformed)
}

// readHead reads up to the empty line, and no byte more.
func readHead(r *bufio.Reader, limit int) ([]byte, error) {
	var head []byte
	for {
		line, err := r.ReadSlice('\n')
		if len(head)+len(line) > limit {
			return nil, fmt.Errorf("%w: head of the parent proxy is above %d bytes", exchange.ErrMalformed, limit)
		}
		head = append(head, line...)
		switch {
		case err == nil:
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF:
			return nil, fmt.Errorf("the parent proxy closed the connection: %w", io.ErrUnexpectedEOF)
		default:
			return nil, err
		}
		if bytes.HasSuffix(head, []byte("\n\r\n")) || bytes.HasSuffix(head, []byte("\n\n")) {
			return head, nil
		}
	}
}

// refusal reads the rest of an answer that is no tunnel.
func refusal(head []byte, r *bufio.Reader) error {
	request := &http.Request{Method: http.MethodConnect}
	resp, err := http.ReadResponse(bufio.NewReader(io.MultiReader(bytes.NewReader(head), r)), request)
	if err != nil {
		return fmt.Errorf("%w: of the parent proxy: %w", exchange.ErrMalformed, err)
	}
	// The body is not closed: that would read it to its end.
	e := &RefusedError{StatusCode: resp.StatusCode, Header: resp.Header}
	e.Body, err = io.ReadAll(io.LimitReader(resp.Body, maxRefusal+1))
	if e.Truncated = err != nil || len(e.Body) > maxRefusal; e.Truncated {
		e.Body = e.Body[:min(len(e.Body), maxRefusal)]
	}
	return e
}

// Answer passes the refusal on as it is. It panics with http.ErrAbortHandler
// when there is no whole body to pass on, behind what there is.
func (e *RefusedError) Answer(w http.ResponseWriter) {
	h, hop := w.Header(), exchange.HopByHopOf(e.Header)
	for name, values := range e.Header {
		// Who is asked for credentials is the client.
		if name != "Content-Length" && (!hop.Has(name) || name == "Proxy-Authenticate") {
			h[name] = values
		}
	}
	if !e.Truncated {
		h["Content-Length"] = []string{fmt.Sprint(len(e.Body))}
	}
	if h["Content-Type"] == nil {
		h["Content-Type"] = nil // or net/http would guess one
	}
	status := e.StatusCode
	if status < 300 || status > 999 {
		status = http.StatusBadGateway // of no parent
	}
	w.WriteHeader(status)
	_, _ = w.Write(e.Body)
	if e.Truncated {
		_ = http.NewResponseController(w).Flush() // or not even the status would go out
		panic(http.ErrAbortHandler)               // nobody may take a part for the whole
	}
}
