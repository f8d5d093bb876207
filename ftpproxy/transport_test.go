package ftpproxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// TestCharset: names are passed on as they are, under the name that was given
// to their encoding.
func TestCharset(t *testing.T) {
	s := startScripted(t)
	s.list = "-rw-r--r-- 1 u g 1 Jan 2 2024 caf\xe9 <\x1b>\r\n"
	rt := s.transport(patience)
	rt.Charset = "ISO-8859-1"
	resp, text, err := ask(t.Context(), rt, "GET", "/d/", nil)
	require.NoError(t, err)
	require.Equal(t, "text/html; charset=ISO-8859-1", resp.Header.Get("Content-Type"))
	require.Contains(t, text, `<meta charset="ISO-8859-1">`)
	require.NotContains(t, text, "\x1b")
	require.NotContains(t, text, "href=\"./caf", "of a name that cannot be asked for")

	s = startScripted(t)
	s.list = "-rw-r--r-- 1 u g 1 Jan 2 2024 caf\xe9\r\n"
	rt = s.transport(patience)
	rt.Charset = "iso-8859-1"
	_, text, err = ask(t.Context(), rt, "GET", "/d/", nil)
	require.NoError(t, err)
	require.Contains(t, text, "<a href=\"./caf%E9\">caf\xe9</a>")
	r, err := http.NewRequest("GET", "ftp://server.test/d/", nil)
	require.NoError(t, err)
	r.Header.Set("Accept", "application/json")
	resp, err = rt.RoundTrip(r)
	require.NoError(t, err)
	var b strings.Builder
	require.NoError(t, resp.Write(&b))
	require.Contains(t, b.String(), `{"name":"café","href":"./caf%E9"`)
}

func TestContentType(t *testing.T) {
	s := startScripted(t)
	rt := s.transport(patience)
	rt.ContentType = func(name string) string {
		if name == "f" {
			return "text/x-readme"
		}
		return ""
	}
	resp, _, err := ask(t.Context(), rt, "GET", "/f", nil)
	require.NoError(t, err)
	require.Equal(t, "text/x-readme", resp.Header.Get("Content-Type"))
	rt.ContentType = nil
	resp, _, err = ask(t.Context(), rt, "GET", "/f;type=a", nil)
	require.NoError(t, err)
	require.Equal(t, "text/plain", resp.Header.Get("Content-Type"))
}

// TestDialers: who dials what.
func TestDialers(t *testing.T) {
	s := startScripted(t)
	real := s.listener.Addr().String()
	var dialled []string
	dial := func(_ context.Context, network, addr string) (net.Conn, error) {
		dialled = append(dialled, addr)
		_, port, _ := net.SplitHostPort(addr)
		if port == "21" {
			return net.Dial(network, real)
		}
		return net.Dial(network, "127.0.0.1:"+port)
	}
	s.transport(patience)
	b := &backend.Backend{URL: &url.URL{Scheme: "ftp", Host: "ftp.test"}, DialContext: dial}
	defer b.Close()
	_, text, err := ask(t.Context(), &Transport{Backend: b}, "GET", "/f", nil)
	require.NoError(t, err)
	require.Equal(t, s.file, text)
	require.Len(t, dialled, 2)
	require.Equal(t, "ftp.test:21", dialled[0])
	require.True(t, strings.HasPrefix(dialled[1], "ftp.test:"), dialled[1])

	var data []string
	own := func(_ context.Context, network, addr string) (net.Conn, error) {
		data = append(data, addr)
		return net.Dial(network, addr)
	}
	_, _, err = ask(t.Context(), &Transport{Backend: b, DialData: own, User: url.User("else")}, "GET", "/f", nil)
	require.NoError(t, err)
	require.Len(t, data, 1)
	require.True(t, strings.HasPrefix(data[0], "127.0.0.1:"), data[0])
}

// TestBackendsByHost: a transport without a Backend makes them.
func TestBackendsByHost(t *testing.T) {
	s := startScripted(t)
	s.transport(patience)
	rt := &Transport{}
	for range 3 {
		r, err := http.NewRequest("GET", "ftp://"+s.listener.Addr().String()+"/f", nil)
		require.NoError(t, err)
		resp, err := rt.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	require.Equal(t, 1, strings.Count(strings.Join(s.heard(), "\n"), "USER"))
	require.Len(t, rt.Stats(), 1)
	require.EqualValues(t, 3, rt.Stats()[0].Elected)
	rt.CloseIdleConnections()
	require.Empty(t, rt.Stats())

	made := 0
	rt = &Transport{NewBackend: func(u *url.URL) *backend.Backend {
		made++
		return &backend.Backend{URL: u, DisableReuse: true}
	}}
	r, err := http.NewRequest("GET", "ftp://"+s.listener.Addr().String()+"/f", nil)
	require.NoError(t, err)
	for range 2 {
		resp, err := rt.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	require.Equal(t, 1, made)

	_, err = (&Transport{Backend: &backend.Backend{URL: &url.URL{Scheme: "ftp", Host: "x"}, Socket: "/run/x"}}).RoundTrip(r)
	require.ErrorContains(t, err, "TCP")
}

// TestCap: no more connections than are allowed, for all users together.
func TestCap(t *testing.T) {
	s := startScripted(t)
	release := make(chan struct{})
	s.on["RETR"] = func(c *scriptedConn, arg string) {
		<-release
		c.regular("RETR", arg)
	}
	rt := s.transport(patience)
	rt.Backend.MaxConns = 2
	done := make(chan error)
	for i := range 6 {
		go func() {
			r, err := http.NewRequest("GET", "ftp://server.test/f", nil)
			if err == nil {
				r.URL.User = url.User([]string{"ann", "bob"}[i%2])
				var resp *http.Response
				if resp, err = rt.RoundTrip(r); err == nil {
					err = resp.Body.Close()
				}
			}
			done <- err
		}()
	}
	require.Eventually(t, func() bool { st := rt.Backend.Stats(); return st.Open == 2 && st.Waiting == 4 }, patience, time.Millisecond)
	close(release)
	for range 6 {
		require.NoError(t, <-done)
	}
	require.LessOrEqual(t, int(rt.Backend.Stats().Open), 2)
}

func TestNewHandler(t *testing.T) {
	h, err := NewHandler("/ftp/", "ftps://ann:x@ftp.test/pub/")
	require.NoError(t, err)
	rt := h.Transport.(*Transport)
	require.Equal(t, "ann", rt.User.Username())
	require.Equal(t, "ftps://ftp.test", rt.Backend.String())
	require.Nil(t, h.Target.User)
	for _, bad := range []string{"http://x/", "ftp://", "ftp:x", "/pub", "ftp://x/y"} {
		_, err := NewHandler("/ftp/", bad)
		require.Error(t, err, bad)
	}
}

// TestGuardedNames: no name is sent in a form that some server takes for an
// option, the home of a user, or a longer blank.
func TestGuardedNames(t *testing.T) {
	s := startScripted(t)
	rt := s.transport(patience)
	for _, path := range []string{"/-la", "/~root/x", "/%20x", "/a-b", "/%2F~x"} {
		_, _, err := ask(t.Context(), rt, "HEAD", path, nil)
		require.NoError(t, err)
	}
	for _, want := range []string{"SIZE ./-la", "SIZE ./~root/x", "SIZE ./ x", "SIZE a-b", "SIZE /~x", "CWD ./~root/x"} {
		require.Contains(t, s.heard(), want)
	}
}

// TestLongFile is one that is moved in several pieces.
func TestLongFile(t *testing.T) {
	s := startScripted(t)
	s.file = strings.Repeat("0123456789abcdef", 2*splicePiece/16+1)
	front := httptest.NewServer(&proxy.Handler{Target: mustURL(t, "ftp://server.test/"), Transport: s.transport(patience)})
	defer front.Close()
	for range 2 {
		resp, err := front.Client().Get(front.URL + "/f")
		require.NoError(t, err)
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.True(t, string(text) == s.file)
	}
	require.Equal(t, 1, strings.Count(strings.Join(s.heard(), "\n"), "USER"))
}

// stuckWriter is a ResponseWriter of others whose client does not read.
type stuckWriter struct {
	*httptest.ResponseRecorder
	stuck atomic.Bool // it is writing
	free  chan struct{}
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	w.stuck.Store(true)
	<-w.free
	return len(p), nil
}

// TestStalledClientIsLetGo: where a write cannot be ended, the connections of
// its transfer are given back while it waits.
func TestStalledClientIsLetGo(t *testing.T) {
	s := startScripted(t)
	s.file = strings.Repeat("x", 1<<20)
	rt := s.transport(patience)
	h := &proxy.Handler{Target: &url.URL{Scheme: "ftp", Host: "server.test", Path: "/"}, Transport: rt, Client: &proxy.ClientLimits{Timeout: 100 * time.Millisecond}}
	w := &stuckWriter{ResponseRecorder: httptest.NewRecorder(), free: make(chan struct{})}
	done := make(chan struct{})
	var aborted any
	go func() {
		defer close(done)
		defer func() { aborted = recover() }()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/f", nil))
	}()
	require.Eventually(t, func() bool { return w.stuck.Load() && rt.Stats()[0].Busy == 0 }, patience, time.Millisecond)
	select {
	case <-done:
		t.Fatal("the handler has returned, though its write has not")
	default:
	}
	close(w.free)
	<-done
	require.Equal(t, http.ErrAbortHandler, aborted)
}
