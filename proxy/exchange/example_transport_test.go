package exchange_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// Transport speaks a protocol of lines: a request is its method and path, an
// answer its status, each followed by a body in pieces. A piece is its length and
// so many bytes; one of length zero ends the body.
//
//	GET /hello    200
//	0             5
//	              hello0
type Transport struct {
	Backend *backend.Backend // pools the connections, and has the time limits
	watcher exchange.Watcher
}

// RoundTrip sends a request once more, on a fresh connection, if the backend had
// closed an idle one and it may be sent again.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	hooks := exchange.HooksOf(r)
	c, err := hooks.Acquire(t.Backend, t.Backend.Get)
	for {
		if err != nil {
			exchange.CloseBody(r)
			return nil, exchange.AcquireError(r.Context(), t.Backend, err)
		}
		x := &attempt{Attempt: exchange.Attempt{Conn: c, Request: r, Hooks: hooks}}
		resp, failed := x.answer(&t.watcher)
		if failed == nil {
			hooks.Answered()
			return resp, nil
		}
		failed = x.Fail(failed) // gives the connection back
		again := exchange.ResendRequest(r, failed)
		if again == nil {
			return nil, failed
		}
		hooks.Resent(failed)
		r = again
		c, err = hooks.Acquire(t.Backend, t.Backend.GetFresh)
	}
}

// attempt is one request and its answer over a connection.
type attempt struct{ exchange.Attempt }

func (x *attempt) answer(w *exchange.Watcher) (*http.Response, *exchange.Error) {
	if err := x.Begin(w); err != nil {
		return nil, err
	}
	if err := x.send(); err != nil {
		return nil, err
	}
	status, err := x.status()
	if err != nil {
		return nil, err
	}
	x.Conn.Succeeded() // the backend is well
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, ContentLength: -1, Body: x.Body(&pieces{r: x.Conn.R}, true), Request: x.Request,
	}, nil
}

// send writes the request; a body, if there is one, is sent meanwhile.
func (x *attempt) send() *exchange.Error {
	r := x.Request
	head := r.Method + " " + r.URL.EscapedPath() + "\n"
	streams := r.Body != nil && r.Body != http.NoBody
	if !streams {
		head += "0\n"
	}
	if n, err := x.Conn.Write([]byte(head)); err != nil {
		return exchange.WriteError(x.Conn, r, err, n == len(head))
	}
	if streams {
		x.SendBody(func(dst, piece []byte, last bool) []byte {
			if len(piece) > 0 {
				dst = fmt.Appendf(dst, "%d\n%s", len(piece), piece)
			}
			if last {
				dst = append(dst, "0\n"...)
			}
			return dst
		})
	}
	return nil
}

// status reads the head of the answer.
func (x *attempt) status() (int, *exchange.Error) {
	line, err := x.Conn.R.ReadSlice('\n')
	for x.WaitsForClient(err) {
		var more []byte
		more, err = x.Conn.R.ReadSlice('\n')
		line = append(line, more...)
	}
	if err == bufio.ErrBufferFull {
		err = exchange.Malformed("a line without an end")
	}
	if err != nil {
		return 0, exchange.HeadError(x.Conn, x.Request, err, len(line) > 0)
	}
	status, err := strconv.Atoi(strings.TrimSuffix(string(line), "\n"))
	if err != nil || status < 200 || status > 599 {
		return 0, exchange.HeadError(x.Conn, x.Request, exchange.Malformed("no status"), true)
	}
	return status, nil
}

// pieces reads a body.
type pieces struct {
	r     *bufio.Reader
	left  int64
	ended bool
}

func (b *pieces) Read(p []byte) (int, error) {
	if b.left == 0 && !b.ended {
		line, err := b.r.ReadSlice('\n')
		if err != nil {
			return 0, cut(err)
		}
		if b.left, err = strconv.ParseInt(strings.TrimSuffix(string(line), "\n"), 10, 64); err != nil || b.left < 0 {
			return 0, exchange.Malformed("no length of a piece")
		}
		b.ended = b.left == 0
	}
	if b.ended {
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, cut(err)
}

// cut tells the end of a connection from that of a body.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A transport for a protocol of lines, and a backend that answers one request
// and is silent about the next.
func Example_transport() {
	b := &backend.Backend{URL: &url.URL{Scheme: "lines", Host: "backend.test:1"}, DialContext: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			r := bufio.NewReader(there)
			for _, answer := range []string{"200\n5\nhello0\n", "200\n5\nhel"} {
				for range 2 { // the request, and the end of its body
					_, _ = r.ReadString('\n')
				}
				_, _ = io.WriteString(there, answer)
			}
		}()
		return here, nil
	}}
	defer b.Close()
	client := &http.Client{Transport: &Transport{Backend: b}}
	for range 2 {
		resp, err := client.Get("lines://backend.test/hello")
		if err != nil {
			fmt.Println(err)
			return
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		fmt.Printf("%d %q\n", resp.StatusCode, body)
		var failed *exchange.Error
		if errors.As(err, &failed) {
			fmt.Println(failed.Op, failed.Backend, exchange.StatusOf(err), exchange.MayResend(err))
		}
	}
	fmt.Println(b.Stats().Created, "connection")
	// Output:
	// 200 "hello"
	// 200 "hel"
	// body lines://backend.test:1 502 false
	// 1 connection
}
