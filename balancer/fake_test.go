package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// fake is a member that answers in memory, and fails as a real one does.
type fake struct {
	name  string
	calls atomic.Int64
	mode  atomic.Pointer[func(r *http.Request) (*http.Response, error)]
}

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	f.calls.Add(1)
	if mode := f.mode.Load(); mode != nil {
		return (*mode)(r)
	}
	return answer(r, http.StatusOK, f.name), nil
}

func (f *fake) do(mode func(r *http.Request) (*http.Response, error)) { f.mode.Store(&mode) }
func (f *fake) up()                                                   { f.mode.Store(nil) }

// down refuses connections.
func (f *fake) down() {
	f.do(func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, &exchange.Error{Op: exchange.OpDial, Backend: r.URL.Host, Resend: true, Err: errors.New("connection refused")}
	})
}

// hangs accepts and never answers: d is the transport's time limit.
func (f *fake) hangs(d time.Duration) {
	f.do(func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return nil, &exchange.Error{Op: exchange.OpHeader, Backend: r.URL.Host, Err: context.DeadlineExceeded}
		case <-r.Context().Done():
			return nil, &exchange.Error{Op: exchange.OpClient, Status: exchange.StatusClientClosedRequest, Err: exchange.ErrClientGone}
		}
	})
}

// garbage answers what is no HTTP.
func (f *fake) garbage() {
	f.do(func(r *http.Request) (*http.Response, error) {
		return nil, &exchange.Error{Op: exchange.OpHeader, Backend: r.URL.Host, Err: exchange.ErrMalformed}
	})
}

func (f *fake) status(code int) {
	f.do(func(r *http.Request) (*http.Response, error) { return answer(r, code, f.name), nil })
}

func answer(r *http.Request, code int, body string) *http.Response {
	return &http.Response{
		StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Request: r,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// fakes makes n members called a, b, c …
func fakes(n int) ([]*fake, []MemberConfig) {
	fs, list := make([]*fake, n), make([]MemberConfig, n)
	for i := range fs {
		name := string(rune('a' + i%26))
		if i >= 26 {
			name = fmt.Sprintf("m%d", i)
		}
		fs[i] = &fake{name: name}
		list[i] = MemberConfig{Name: name, URL: "http://" + name + ".example", RoundTripper: fs[i]}
	}
	return fs, list
}

func newTest(t testing.TB, c Config, list ...MemberConfig) *Balancer {
	b, err := New(c, list...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func get(t testing.TB, url string) *http.Request {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	require.NoError(t, err)
	return r
}

// send sends a GET and returns the body, which is the member's name.
func send(t testing.TB, b *Balancer) string {
	name, err := sent(b, get(t, "balancer://x/"))
	require.NoError(t, err)
	return name
}

func sent(b *Balancer, r *http.Request) (string, error) {
	resp, err := b.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return string(body), err
}
