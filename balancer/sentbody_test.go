package balancer

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// countedBody counts how often it is closed, and what is read after.
type countedBody struct {
	io.Reader
	closed, late atomic.Int32
}

func (b *countedBody) Read(p []byte) (int, error) {
	if b.closed.Load() > 0 {
		b.late.Add(1)
	}
	return b.Reader.Read(p)
}

func (b *countedBody) Close() error { b.closed.Add(1); return nil }

// TestBodyIsClosedOnce: whatever a member's transport does with a body, in
// whatever order, the client's is closed once and not read after.
func TestBodyIsClosedOnce(t *testing.T) {
	again := &exchange.Error{Op: exchange.OpHeader, Resend: true, Err: io.EOF}
	never := &exchange.Error{Op: exchange.OpHeader, Err: io.EOF}
	closes := func(r *http.Request) { _ = r.Body.Close() }
	reads := func(r *http.Request) { _, _ = r.Body.Read(make([]byte, 1)) }
	for name, tc := range map[string]struct {
		first []func(*http.Request)
		err   error
		next  []func(*http.Request)
	}{
		"closed, read":                       {first: []func(*http.Request){closes, reads}, err: never},
		"closed, read, answered":             {first: []func(*http.Request){closes, reads}},
		"read, closed":                       {first: []func(*http.Request){reads, closes}, err: never},
		"only closed":                        {first: []func(*http.Request){closes}, err: never},
		"closed, read by two":                {first: []func(*http.Request){closes, reads}, err: again, next: []func(*http.Request){closes, reads}},
		"closed by one, read by another":     {first: []func(*http.Request){closes}, err: again, next: []func(*http.Request){reads, closes}},
		"closed by one, answered by another": {first: []func(*http.Request){closes}, err: again, next: []func(*http.Request){closes}},
	} {
		t.Run(name, func(t *testing.T) {
			fs, list := fakes(2)
			b := newTest(t, Config{Method: First{}}, list...)
			for i, does := range [][]func(*http.Request){tc.first, tc.next} {
				fs[i].do(func(r *http.Request) (*http.Response, error) {
					for _, f := range does {
						f(r)
					}
					if i == 0 && tc.err != nil {
						return nil, tc.err
					}
					return answer(r, 200, ""), nil
				})
			}
			body := &countedBody{Reader: strings.NewReader("body")}
			r := get(t, "balancer://x/")
			r.Method, r.Body, r.ContentLength = http.MethodPost, body, 4
			resp, err := b.RoundTrip(r)
			if err == nil {
				_ = resp.Body.Close()
			}
			require.Equal(t, errors.Is(tc.err, never), err != nil)
			require.EqualValues(t, 1, body.closed.Load(), "closed")
			require.Zero(t, body.late.Load(), "read after that")
		})
	}
}
