package mirror_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/mirror"
)

// TestBehindAHandler: of a copy, whatever transport sends it, the client of a
// Handler, its Record, hooks and a balancer's facts know nothing; the backend and
// the mirror get the same request.
func TestBehindAHandler(t *testing.T) {
	type seen struct {
		body, trailer, user string
		length              int64
	}
	copied := make(chan seen, 10)
	note := func(r *http.Request) seen {
		body, _ := io.ReadAll(r.Body)
		return seen{string(body), r.Trailer.Get("X-T"), r.Header.Get("X-User"), r.ContentLength}
	}
	shadow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := note(r)
		w.Header().Set("Link", "</of-the-mirror>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Set-Cookie", "mirror=1")
		w.WriteHeader(http.StatusTeapot)
		copied <- s
	}))
	defer shadow.Close()
	got := make(chan seen, 10)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- note(r)
		<-copied // the copy is sent beside the request
		_, _ = io.WriteString(w, "main")
	}))
	defer origin.Close()
	to, err := url.Parse(shadow.URL)
	require.NoError(t, err)
	aim := func(r *http.Request) { r.URL.Scheme, r.URL.Host = to.Scheme, to.Host }
	members, err := balancer.New(balancer.Config{Name: "shadow"}, balancer.URLs(shadow.URL)...)
	require.NoError(t, err)
	defer func() { require.NoError(t, members.Close()) }()
	own, foreign := &proxy.Transport{}, &http.Transport{}
	defer own.CloseIdleConnections()
	defer foreign.CloseIdleConnections()

	for name, to := range map[string]http.RoundTripper{"proxy.Transport": own, "http.Transport": foreign, "balancer": members} {
		for _, h2 := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " HTTP/2", false: " HTTP/1.1"}[h2], func(t *testing.T) {
				var mu sync.Mutex
				var record *exchange.Record
				var facts balancer.Facts
				var dials atomic.Int32
				m := &mirror.Transport{To: to, Rewrite: aim}
				h, err := proxy.NewHandler("/", origin.URL+"/")
				require.NoError(t, err)
				h.Transport = m
				h.OnRecord = func(_ *http.Request, r *exchange.Record) { mu.Lock(); defer mu.Unlock(); c := *r; record = &c }
				front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
						GetConn:      func(string) { dials.Add(1) },
						ConnectStart: func(string, string) { dials.Add(100) },
					})
					h.ServeHTTP(w, r.WithContext(balancer.WithFacts(ctx, &facts)))
				}))
				front.EnableHTTP2 = h2
				front.StartTLS()
				defer front.Close()
				for _, body := range []string{"", "with a length", "chunked"} {
					r, err := http.NewRequest("POST", front.URL+"/x", strings.NewReader(body))
					require.NoError(t, err)
					r.Header.Set("X-User", "me")
					want := seen{body, "", "me", int64(len(body))}
					if body == "chunked" {
						r.ContentLength = -1
						r.Trailer = http.Header{"X-T": {"end"}}
						want.length, want.trailer = -1, "end"
					}
					r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error {
						return errors.New("an interim answer of the mirror's")
					}}))
					resp, err := front.Client().Do(r)
					require.NoError(t, err)
					text, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					_ = resp.Body.Close()
					require.Equal(t, "main", string(text))
					require.Empty(t, resp.Header["Set-Cookie"])
					require.Equal(t, want, <-got)
				}
				front.Close()
				require.NoError(t, m.Shutdown(t.Context()))
				require.Equal(t, mirror.Stats{Chosen: 3, Sent: 3}, m.Stats())
				require.Equal(t, []any{200, 1, "", origin.URL}, []any{record.BackendStatus, record.Attempts, record.Member, record.Backend})
				require.Zero(t, facts)
				require.Equal(t, int32(3), dials.Load()%100, "the hooks are those of the request alone")
				require.LessOrEqual(t, dials.Load()/100, int32(1))
				h.CloseIdleConnections()
			})
		}
	}
}

// TestEarlyAnswer: the copy waits for a body that the client goes on to send,
// and is dropped when the client leaves; the answer has long been there.
func TestEarlyAnswer(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.WriteString(w, "early\n")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer origin.Close()
	copied := make(chan string, 1)
	m := &mirror.Transport{To: copying(copied)}
	h, err := proxy.NewHandler("/", origin.URL)
	require.NoError(t, err)
	h.Transport = m
	defer h.CloseIdleConnections()
	front := httptest.NewUnstartedServer(h)
	front.EnableHTTP2 = true
	front.StartTLS()
	defer front.Close()
	for _, leaves := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		pr, pw := io.Pipe()
		r, err := http.NewRequestWithContext(ctx, "POST", front.URL, pr)
		require.NoError(t, err)
		resp, err := front.Client().Do(r)
		require.NoError(t, err)
		line := make([]byte, 6)
		_, err = io.ReadFull(resp.Body, line)
		require.NoError(t, err)
		require.Equal(t, "early\n", string(line))
		require.Empty(t, copied)
		_, _ = io.WriteString(pw, "late")
		if leaves {
			cancel()
		} else {
			_ = pw.Close()
			require.Equal(t, "late", <-copied)
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
		}
		_ = resp.Body.Close()
		_ = pw.Close()
		cancel()
	}
	front.Close()
	require.NoError(t, m.Shutdown(t.Context()))
	require.Equal(t, mirror.Stats{Chosen: 2, Sent: 1}, m.Stats())
}

type copying chan string

func (c copying) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	c <- string(body)
	return &http.Response{StatusCode: 200, Body: http.NoBody}, err
}
