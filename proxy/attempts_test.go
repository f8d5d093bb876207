package proxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/ftpproxy"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/accesslog"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// overEach are the transports, by the scheme of their backends.
var overEach = map[string]func(*backend.Backend) http.RoundTripper{
	"http":  func(b *backend.Backend) http.RoundTripper { return &proxy.Transport{Backend: b} },
	"https": func(b *backend.Backend) http.RoundTripper { return &proxy.Transport{Backend: b} },
	"h2":    func(b *backend.Backend) http.RoundTripper { return &proxy.Transport{Backend: b} },
	"h2c":   func(b *backend.Backend) http.RoundTripper { return &proxy.Transport{Backend: b} },
	"ws":    func(b *backend.Backend) http.RoundTripper { return &proxy.Transport{Backend: b} },
	"fcgi":  func(b *backend.Backend) http.RoundTripper { return &fcgi.Transport{Backend: b} },
	"ajp":   func(b *backend.Backend) http.RoundTripper { return &ajp.Transport{Backend: b} },
	"ftp":   func(b *backend.Backend) http.RoundTripper { return &ftpproxy.Transport{Backend: b} },
	"ftps":  func(b *backend.Backend) http.RoundTripper { return &ftpproxy.Transport{Backend: b} },
}

// retrying is an embedder's RoundTripper that tries again.
type retrying struct {
	times int
	http.RoundTripper
}

func (rt retrying) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	for range rt.times {
		if resp, err = rt.RoundTripper.RoundTrip(r); err == nil {
			return resp, nil
		}
	}
	return nil, err
}

// attemptsOf serves a GET through h, and returns its record by OnRecord and by an
// Observer around it, and what the access log says of the attempts.
func attemptsOf(t *testing.T, h *proxy.Handler) (inside, outside exchange.Record, line string) {
	var text strings.Builder
	log, err := accesslog.New(&text, "%{attempts}n")
	require.NoError(t, err)
	h.OnRecord = func(_ *http.Request, rec *exchange.Record) { inside = *rec }
	watch := &proxy.Observer{Done: func(_ *http.Request, rec *exchange.Record) { outside = *rec }}
	log.Wrap(watch.Wrap(h)).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://front.test/x", nil))
	return inside, outside, strings.TrimSpace(text.String())
}

// TestAttemptsWithoutAConnection: what got no connection was an attempt, and has
// failed at somebody, over every protocol.
func TestAttemptsWithoutAConnection(t *testing.T) {
	refused := errors.New("refused")
	for scheme, speak := range overEach {
		name := func(i int) string { return fmt.Sprintf("%s://m%d.test", scheme, i) }
		down := func(t *testing.T, i int) *backend.Backend {
			u, err := url.Parse(name(i))
			require.NoError(t, err)
			b := &backend.Backend{URL: u, Retry: time.Hour, DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, refused }}
			t.Cleanup(func() { _ = b.Close() })
			return b
		}
		for what, tc := range map[string]struct {
			transport func(t *testing.T) http.RoundTripper
			cause     error
			attempts  []string // where they went
			members   []string
		}{
			"dial refused": {func(t *testing.T) http.RoundTripper { return speak(down(t, 0)) }, refused, []string{name(0)}, []string{""}},
			"in the error state": {func(t *testing.T) http.RoundTripper {
				b := down(t, 0)
				b.MarkError(errors.New("broken"))
				return speak(b)
			}, backend.ErrUnusable, []string{name(0)}, []string{""}},
			"tried again further out": {func(t *testing.T) http.RoundTripper {
				b := down(t, 0)
				b.SetFlags(backend.IgnoreErrors, 0)
				return retrying{3, speak(b)}
			}, refused, []string{name(0), name(0), name(0)}, []string{"", "", ""}},
			"members": {func(t *testing.T) http.RoundTripper {
				list := make([]balancer.MemberConfig, 3)
				for i := range list {
					list[i] = balancer.MemberConfig{Name: fmt.Sprintf("m%d", i), URL: name(i), RoundTripper: speak(down(t, i))}
				}
				b, err := balancer.New(balancer.Config{Name: "b", Method: balancer.First{}}, list...)
				require.NoError(t, err)
				t.Cleanup(func() { _ = b.Close() })
				return b
			}, refused, []string{name(0), name(1), name(2)}, []string{"m0", "m1", "m2"}},
		} {
			t.Run(scheme+"/"+what, func(t *testing.T) {
				rt := tc.transport(t)
				target, err := url.Parse(tc.attempts[0])
				require.NoError(t, err)
				inside, outside, line := attemptsOf(t, &proxy.Handler{Target: target, Transport: rt})
				for _, rec := range []exchange.Record{inside, outside} {
					n := len(tc.attempts)
					require.Equal(t, n, rec.Attempts)
					require.Len(t, rec.Failed, n-1)
					for i, a := range rec.Failed {
						require.Equal(t, tc.attempts[i], a.Backend)
						require.Equal(t, tc.members[i], a.Member)
						require.ErrorIs(t, a.Err, tc.cause)
					}
					require.Equal(t, tc.attempts[n-1], rec.Backend)
					require.Equal(t, tc.members[n-1], rec.Member)
					require.ErrorIs(t, rec.Err, tc.cause)
					require.Zero(t, rec.Connected)
				}
				require.Equal(t, fmt.Sprint(len(tc.attempts)), line)
			})
		}
	}
}

// TestAttemptsWithoutAPlace: a member, or a backend, whose line was too long has
// failed the attempt, also if it was the last.
func TestAttemptsWithoutAPlace(t *testing.T) {
	front := func(t *testing.T) (*balancer.Balancer, func()) {
		list := make([]balancer.MemberConfig, 2)
		hold := make(chan struct{})
		busy := make(chan struct{}, 2)
		for i := range list {
			list[i] = balancer.MemberConfig{Name: fmt.Sprintf("m%d", i), URL: fmt.Sprintf("http://m%d.test", i), MaxInFlight: 1, WaitTimeout: time.Millisecond,
				RoundTripper: roundTripper(func(r *http.Request) (*http.Response, error) {
					busy <- struct{}{}
					<-hold
					return &http.Response{StatusCode: 204, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
				})}
		}
		b, err := balancer.New(balancer.Config{Name: "b", Method: balancer.First{}}, list...)
		require.NoError(t, err)
		t.Cleanup(func() { _ = b.Close() })
		done := make(chan struct{}, 2)
		for range 2 {
			go func() {
				resp, err := b.RoundTrip(httptest.NewRequest("GET", "http://x.test/", nil))
				if err == nil {
					_ = resp.Body.Close()
				}
				done <- struct{}{}
			}()
			<-busy
		}
		return b, func() { close(hold); <-done; <-done }
	}
	b, release := front(t)
	defer release()
	inside, outside, line := attemptsOf(t, &proxy.Handler{Target: &url.URL{Scheme: "balancer", Host: "b"}, Transport: b})
	for _, rec := range []exchange.Record{inside, outside} {
		require.Equal(t, 503, rec.Status)
		require.Equal(t, len(rec.Failed)+1, rec.Attempts)
	}
	require.Equal(t, fmt.Sprint(inside.Attempts), line)
}

// TestAttemptsBesideARequest: an authorizer is asked beside the request, which is
// none of its attempts.
func TestAttemptsBesideARequest(t *testing.T) {
	target, make := startFCGI(t)
	target.Path = "/auth"
	b := &backend.Backend{URL: target}
	defer b.Close()
	authorizer := &fcgi.Authorizer{URL: target, Transport: make(b).(*fcgi.Transport)}
	var rec exchange.Record
	watch := &proxy.Observer{Done: func(_ *http.Request, got *exchange.Record) { rec = *got }}
	watch.Wrap(authorizer.Wrap(http.NotFoundHandler())).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://front.test/x", nil))
	require.EqualValues(t, 1, b.Stats().Elected)
	require.Zero(t, rec.Attempts)
	require.Empty(t, rec.Backend)
}

// TestRecordInJSON: no object has a name twice, and what has failed is a list.
func TestRecordInJSON(t *testing.T) {
	rec := &exchange.Record{
		Status: 502, Client: "192.0.2.1:1", User: "u", Backend: "http://c.test", Attempts: 3, Balancer: "b", Member: "c", Why: "byrequests", Cache: "miss", Err: errors.New(`it "failed"`),
		Failed:  []exchange.FailedAttempt{{Backend: "http://a.test", Member: "a", Duration: time.Second, Err: errors.New("refused")}, {Backend: "http://b.test", Member: "b", Status: 503}},
		Skipped: []exchange.Skip{{Member: "d", Why: "error"}},
	}
	var text bytes.Buffer
	slog.New(slog.NewJSONHandler(&text, nil)).Info("x", "result", rec)
	object := requireUniqueNames(t, text.Bytes())["result"].(map[string]any)
	require.Equal(t, []any{
		map[string]any{"backend": "http://a.test", "member": "a", "start": 0.0, "duration": 1e9, "error": "refused"},
		map[string]any{"backend": "http://b.test", "member": "b", "start": 0.0, "duration": 0.0, "status": 503.0},
	}, object["failed"])
	require.Equal(t, []any{map[string]any{"member": "d", "why": "error"}}, object["skipped"])
	text.Reset()
	slog.New(slog.NewTextHandler(&text, nil)).Info("x", "result", rec)
	require.Contains(t, text.String(), `result.failed="[a http://a.test after 1s: refused b http://b.test after 0s: status 503]"`)
	require.Contains(t, text.String(), `result.skipped="[d: error]"`)
}

// requireUniqueNames reads a line of JSON in which no object has a name twice.
func requireUniqueNames(t *testing.T, line []byte) map[string]any {
	d := json.NewDecoder(bytes.NewReader(line))
	var open []map[string]bool // of the objects; nil for a list
	name := false
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err, "%s", line)
		switch token {
		case json.Delim('{'):
			open, name = append(open, map[string]bool{}), true
			continue
		case json.Delim('['):
			open, name = append(open, nil), false
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		default:
			if name {
				key := token.(string)
				require.False(t, open[len(open)-1][key], "%q stands twice in %s", key, line)
				open[len(open)-1][key] = true
				name = false
				continue
			}
		}
		name = len(open) > 0 && open[len(open)-1] != nil
	}
	var object map[string]any
	require.NoError(t, json.Unmarshal(line, &object))
	return object
}
