package exchangetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// faulty spoils what a good transport does.
type faulty struct {
	http.RoundTripper
	b     *backend.Backend
	spoil func(f *faulty, r *http.Request) (*http.Response, error)
}

func (f *faulty) RoundTrip(r *http.Request) (*http.Response, error) { return f.spoil(f, r) }

func (f *faulty) CloseIdleConnections() {}

// spoilError changes the errors of RoundTrip.
func spoilError(change func(e *exchange.Error) error) func(*faulty, *http.Request) (*http.Response, error) {
	return func(f *faulty, r *http.Request) (*http.Response, error) {
		resp, err := f.RoundTripper.RoundTrip(r)
		var e *exchange.Error
		if errors.As(err, &e) {
			err = change(e)
		}
		return resp, err
	}
}

// spoilBody changes the bodies of answers.
func spoilBody(change func(io.ReadCloser) io.ReadCloser) func(*faulty, *http.Request) (*http.Response, error) {
	return func(f *faulty, r *http.Request) (*http.Response, error) {
		resp, err := f.RoundTripper.RoundTrip(r)
		if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
			resp.Body = change(resp.Body)
		}
		return resp, err
	}
}

// spoilRequest changes the request.
func spoilRequest(change func(r *http.Request) *http.Request) func(*faulty, *http.Request) (*http.Response, error) {
	return func(f *faulty, r *http.Request) (*http.Response, error) {
		return f.RoundTripper.RoundTrip(change(r))
	}
}

// readErrors changes the errors of Read.
type readErrors struct {
	io.ReadCloser
	change func(error) error
}

func (b readErrors) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		err = b.change(err)
	}
	return n, err
}

// neverClosed is a body whose Close does nothing.
type neverClosed struct{ io.ReadCloser }

func (neverClosed) Close() error { return nil }

// closedTwice closes twice.
type closedTwice struct{ io.ReadCloser }

func (b closedTwice) Close() error {
	_ = b.ReadCloser.Close()
	return b.ReadCloser.Close()
}

// faults are transports with one fault each, and the check that finds it.
var faults = map[string]struct {
	spoil func(f *faulty, r *http.Request) (*http.Response, error)
	field func(b *backend.Backend) // what is wrong with the backend's use
	check string
	want  string
}{
	"errors without a type": {
		spoil: spoilError(func(e *exchange.Error) error { return errors.New(e.Error()) }),
		check: "backend closes connecting", want: "no *exchange.Error",
	},
	"wrong status": {
		spoil: spoilError(func(e *exchange.Error) error { e.Status = 500; return e }),
		check: "backend stalls before the head", want: "status is 500, not 504",
	},
	"wrong phase": {
		spoil: spoilError(func(e *exchange.Error) error { e.Op = exchange.OpDial; return e }),
		check: "backend closes in the head", want: `phase is "dial"`,
	},
	"everything may be sent again": {
		spoil: spoilError(func(e *exchange.Error) error { e.Resend = true; return e }),
		check: "backend closes before the head, after an upload", want: "twice",
	},
	"nothing may be sent again": {
		spoil: spoilError(func(e *exchange.Error) error { e.Resend = false; return e }),
		check: "backend closes connecting", want: "does not say that the GET may be sent again",
	},
	"no word of a time limit": {
		spoil: spoilError(func(e *exchange.Error) error { e.Status, e.Err = 504, errors.New("late"); return e }),
		check: "backend stalls before the head", want: "Timeout() of the error is false",
	},
	"a time limit of no kind": {
		spoil: spoilError(func(e *exchange.Error) error { e.Err = timeLimit{e.Err.Error()}; return e }),
		check: "backend stalls before the head", want: "wraps neither",
	},
	"a wrapped error that hides the time limit": {
		spoil: spoilError(func(e *exchange.Error) error { return fmt.Errorf("hidden: %w", e) }),
		check: "backend stalls before the head", want: "no net.Error",
	},
	"no word of the backend": {
		spoil: spoilError(func(e *exchange.Error) error { e.Backend = ""; return e }),
		check: "backend closes before the head", want: "names the backend",
	},
	"an answer and an error": {
		spoil: func(f *faulty, r *http.Request) (*http.Response, error) {
			resp, _ := f.RoundTripper.RoundTrip(r)
			return resp, errors.New("both")
		},
		check: "whole answers", want: "returned the answer",
	},
	"no body": {
		spoil: spoilBody(func(io.ReadCloser) io.ReadCloser { return nil }),
		check: "HEAD", want: "no Body",
	},
	"panics": {
		spoil: func(*faulty, *http.Request) (*http.Response, error) { panic("help") },
		check: "whole answers", want: "panic: help",
	},
	"sends uploads again": {
		spoil: func(f *faulty, r *http.Request) (*http.Response, error) {
			if r.Body == nil {
				return f.RoundTripper.RoundTrip(r)
			}
			text, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			_ = r.Body.Close()
			r = r.Clone(r.Context())
			r.Body = io.NopCloser(strings.NewReader(string(text)))
			resp, err := f.RoundTripper.RoundTrip(r)
			if err == nil {
				return resp, nil
			}
			r.Body = io.NopCloser(strings.NewReader(string(text)))
			return f.RoundTripper.RoundTrip(r)
		},
		check: "closed when the next request is read, upload", want: "may have been served before",
	},
	"does not send again": {
		spoil: spoilRequest(func(r *http.Request) *http.Request {
			r = r.Clone(r.Context())
			r.Method = "PROPFIND"
			return r
		}),
		check: "closed when the next request is read, GET", want: "not sent again",
	},
	"knows no client that leaves": {
		spoil: spoilRequest(func(r *http.Request) *http.Request { return r.WithContext(context.WithoutCancel(r.Context())) }),
		check: "client leaves before the head", want: `the phase is "header"`,
	},
	"knows no time limit": {
		field: func(b *backend.Backend) { b.Timeout = -1 },
		check: "backend stalls in the body", want: "does not end",
	},
	"a part passes for the whole": {
		spoil: spoilBody(func(b io.ReadCloser) io.ReadCloser {
			return readErrors{b, func(error) error { return io.EOF }}
		}),
		check: "backend closes in the body", want: "passes for the whole",
	},
	"error of the body without a type": {
		spoil: spoilBody(func(b io.ReadCloser) io.ReadCloser {
			return readErrors{b, func(err error) error {
				if err != io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return err
			}}
		}),
		check: "backend closes in a body of unknown length", want: "no *exchange.Error",
	},
	"answers of others": {
		spoil: spoilRequest(func(r *http.Request) *http.Request {
			r = r.Clone(r.Context())
			if r.Method == http.MethodGet {
				r.URL.Path = "/dir/1"
			}
			return r
		}),
		check: "whole answers", want: "that of another",
	},
	"closes no body of a request": {
		spoil: spoilRequest(func(r *http.Request) *http.Request {
			r = r.Clone(r.Context())
			if r.Body != nil {
				r.Body = neverClosed{r.Body}
			}
			return r
		}),
		check: "whole answers", want: "closed 0 times",
	},
	"closes it twice": {
		spoil: spoilRequest(func(r *http.Request) *http.Request {
			r = r.Clone(r.Context())
			if r.Body != nil {
				r.Body = closedTwice{r.Body}
			}
			return r
		}),
		check: "backend closes in an upload", want: "closed 2 times",
	},
	"reads a body that it has closed": {
		spoil: func(f *faulty, r *http.Request) (*http.Response, error) {
			resp, err := f.RoundTripper.RoundTrip(r)
			if r.Body != nil {
				time.Sleep(time.Second)
				_, _ = r.Body.Read(make([]byte, 1))
			}
			return resp, err
		},
		check: "backend closes connecting for an upload", want: "after it was closed",
	},
	"keeps connections": {
		spoil: spoilBody(func(b io.ReadCloser) io.ReadCloser { return neverClosed{b} }),
		check: "answers closed early", want: "were not given back",
	},
	"connections of its own": {
		spoil: func(f *faulty, r *http.Request) (*http.Response, error) {
			if _, err := f.b.DialContext(r.Context(), "tcp", f.b.Address()); err != nil {
				return nil, err
			}
			return f.RoundTripper.RoundTrip(r)
		},
		check: "nonsense", want: "neither closed nor given back",
	},
	"a connection for each request": {
		field: func(b *backend.Backend) { b.DisableReuse = true },
		check: "whole answers", want: "10 connections were made",
	},
	"goroutines": {
		spoil: func(f *faulty, r *http.Request) (*http.Response, error) {
			go time.Sleep(10 * time.Hour)
			return f.RoundTripper.RoundTrip(r)
		},
		check: "HEAD", want: "a goroutine is left over",
	},
	"drops interim answers": {
		spoil: spoilRequest(func(r *http.Request) *http.Request {
			return r.WithContext(context.Background())
		}),
		check: "interim answers", want: "the interim answers [] were passed on",
	},
	"body of an upgrade that cannot be written": {
		spoil: func(f *faulty, r *http.Request) (*http.Response, error) {
			resp, err := f.RoundTripper.RoundTrip(r)
			if err == nil {
				resp.Body = struct{ io.ReadCloser }{resp.Body}
			}
			return resp, err
		},
		check: "upgrade", want: "no io.ReadWriteCloser",
	},
	"waits for the whole upload": {
		spoil: func(f *faulty, r *http.Request) (*http.Response, error) {
			time.Sleep(limit)
			return f.RoundTripper.RoundTrip(r)
		},
		check: "answer before the upload is read", want: "the answer took",
	},
	"content where there is none": {
		spoil: spoilBody(func(b io.ReadCloser) io.ReadCloser {
			return struct {
				io.Reader
				io.Closer
			}{strings.NewReader("content"), b}
		}),
		check: "answers without content", want: `the body is "content"`,
	},
	"unlimited connections": {
		spoil: func(f *faulty, r *http.Request) (*http.Response, error) {
			f.b.MaxConns = 0
			return f.RoundTripper.RoundTrip(r)
		},
		check: oneForEach, want: "more connections than MaxConns",
	},
	"takes nonsense for an answer": {
		spoil: func(f *faulty, r *http.Request) (*http.Response, error) {
			resp, err := f.RoundTripper.RoundTrip(r)
			if errors.Is(err, exchange.ErrMalformed) {
				return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
			}
			return resp, err
		},
		check: "nonsense", want: "passes for an answer",
	},
}

// timeLimit is an error that says of itself that it is a time limit.
type timeLimit struct{ text string }

func (t timeLimit) Error() string { return t.text }
func (timeLimit) Timeout() bool   { return true }
func (timeLimit) Temporary() bool { return true }

// TestFindsFaults shows that the kit sees what it is for.
func TestFindsFaults(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			p := http1()
			p.Transport = func(b *backend.Backend) http.RoundTripper {
				if fault.field != nil {
					fault.field(b)
				}
				good := &proxy.Transport{Backend: b}
				if fault.spoil == nil {
					return good
				}
				return &faulty{RoundTripper: good, b: b, spoil: fault.spoil}
			}
			for _, c := range checks() {
				if c.name == fault.check {
					err := runCheck(t, p, c)
					require.ErrorContains(t, err, fault.want)
					return
				}
			}
			t.Fatalf("there is no check %q", fault.check)
		})
	}
}

// bare is a server without what only some protocols have.
type bare struct{ Server }

// TestLacks: what a protocol lacks is no fault.
func TestLacks(t *testing.T) {
	p := http1()
	server := p.Server
	p.Server = func(c net.Conn) Server { return bare{server(c)} }
	for _, c := range checks() {
		if c.name == "interim answers" || c.name == "upgrade" {
			require.IsType(t, notHere{}, runCheck(t, p, c))
		}
	}
}
