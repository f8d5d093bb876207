package ajp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// startServer serves h by AJP until the test ends, and returns the URL.
func startServer(t *testing.T, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		require.ErrorIs(t, <-done, ErrServerClosed)
		require.NoError(t, s.Shutdown(context.Background())) // waits for the handlers
	})
	return "ajp://" + l.Addr().String()
}

// newTransport returns a Transport whose connections end with the test.
func newTransport(t *testing.T, tr *Transport) *Transport {
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// echo tells what it sees of a request.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Add("Set-Cookie", "a=1")
	w.Header().Add("Set-Cookie", "b=2")
	w.Header().Set("X-Method", r.Method)
	w.Header().Set("X-Uri", r.RequestURI)
	w.Header().Set("X-Host", r.Host)
	w.Header().Set("X-Length", strconv.FormatInt(r.ContentLength, 10))
	w.Header().Set("X-Seen", r.Header.Get("X-Test"))
	_, _ = w.Write(body)
})

func TestPairPassesRequestsAndAnswers(t *testing.T) {
	url := startServer(t, &Server{Handler: echo, Secret: "s3cret"})
	client := &http.Client{Transport: newTransport(t, &Transport{Secret: "s3cret"})}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "MKACTIVITY", "BREW"} {
		for _, size := range []int{0, 1, 8186, 8187, 20000, 300000} {
			for _, chunked := range []bool{false, true} {
				t.Run(fmt.Sprint(method, size, chunked), func(t *testing.T) {
					text := strings.Repeat("x", size)
					body := io.Reader(strings.NewReader(text))
					if chunked {
						body = io.MultiReader(body)
					}
					r, err := http.NewRequest(method, url+"/p%20a/th;x=1?q=1&r=%2F", body)
					require.NoError(t, err)
					r.Header.Set("X-Test", "v1")
					resp, err := client.Do(r)
					require.NoError(t, err)
					defer resp.Body.Close()
					got, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					require.Equal(t, "200 OK", resp.Status)
					require.Equal(t, method, resp.Header.Get("X-Method"))
					require.Equal(t, "/p%20a/th;x=1?q=1&r=%2F", resp.Header.Get("X-Uri"))
					require.Equal(t, "v1", resp.Header.Get("X-Seen"))
					require.Equal(t, []string{"a=1", "b=2"}, resp.Header["Set-Cookie"])
					require.Equal(t, strings.TrimPrefix(url, "ajp://"), resp.Header.Get("X-Host"))
					if method == "HEAD" {
						require.Empty(t, got)
						return
					}
					require.True(t, text == string(got), "%d bytes came back", len(got))
				})
			}
		}
	}
}

// TestConnectionsAreReused counts those that a hundred requests of all kinds
// need.
func TestConnectionsAreReused(t *testing.T) {
	url := startServer(t, &Server{Handler: echo})
	b := newBackend(t, url)
	tr := &Transport{Backend: b, Ping: patience}
	for i := range 100 {
		method, body := "GET", io.Reader(nil)
		switch i % 4 {
		case 1:
			method, body = "POST", strings.NewReader(strings.Repeat("a", i*300))
		case 2:
			method, body = "POST", io.MultiReader(strings.NewReader(strings.Repeat("a", i*300)))
		case 3:
			method = "HEAD"
		}
		r := httptest.NewRequest(method, url+"/", body)
		resp, err := tr.RoundTrip(r)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	require.EqualValues(t, 1, b.Stats().Open)
	require.EqualValues(t, 99, b.Stats().Reused)
}

func TestLongAnswers(t *testing.T) {
	for _, size := range []int{DefaultPacketSize, MaxPacketSize} {
		data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		url := startServer(t, &Server{PacketSize: size, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/sized" {
				w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			}
			_, _ = w.Write(data)
		})})
		tr := newTransport(t, &Transport{PacketSize: size})
		h, err := NewHandler("/", url)
		require.NoError(t, err)
		h.Transport = tr
		front := httptest.NewServer(h)
		t.Cleanup(front.Close)
		for _, base := range []string{url, front.URL} {
			client := front.Client()
			if base == url {
				client = &http.Client{Transport: tr}
			}
			for _, path := range []string{"/sized", "/"} {
				resp, err := client.Get(base + path)
				require.NoError(t, err)
				got, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.True(t, bytes.Equal(data, got), "%s%s: %d bytes", base, path, len(got))
				require.NoError(t, resp.Body.Close())
			}
		}
	}
}

// TestHandlerTellsTheClientsView sends a request through a proxy, of which the
// server shall see as little as possible.
func TestHandlerTellsTheClientsView(t *testing.T) {
	seen := make(chan *http.Request, 1)
	url := startServer(t, &Server{
		AllowAttribute: func(name string) bool { return name == "org" },
		Handler:        http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen <- r }),
	})
	h, err := NewHandler("/app/", url+"/webapp/")
	require.NoError(t, err)
	tr := h.Transport.(*Transport)
	t.Cleanup(func() { _ = tr.Backend.Close() })
	tr.Route = "node1"
	tr.Attributes = func(r *http.Request) []Attribute { return []Attribute{{"org", "x"}, {"org", "y"}} }
	front := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, access.WithUser(r, "ann", "Basic"))
	}))
	t.Cleanup(front.Close)
	r, err := http.NewRequest("GET", front.URL+"/app/x?y", nil)
	require.NoError(t, err)
	r.Host = "www.example.com:8443"
	resp, err := front.Client().Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	got := <-seen
	require.Equal(t, "www.example.com:8443", got.Host)
	require.Equal(t, "/webapp/x?y", got.RequestURI)
	require.NotContains(t, got.Header, "X-Forwarded-For")
	require.NotNil(t, got.TLS)
	require.Equal(t, resp.TLS.Version, got.TLS.Version)
	require.Equal(t, resp.TLS.CipherSuite, got.TLS.CipherSuite)
	require.Equal(t, "www.example.com", got.TLS.ServerName)
	f := exchange.FactsOf(got, nil)
	require.Equal(t, [2]string{"ann", "Basic"}, [2]string{f.User, f.AuthType})
	host, port, err := net.SplitHostPort(got.RemoteAddr)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", host)
	require.NotEqual(t, "0", port)
	a := AttributesFrom(got.Context())
	require.Equal(t, "node1", a.Route)
	require.Equal(t, []Attribute{{"org", "x"}, {"org", "y"}}, a.Named)
	v, ok := a.Get("org")
	require.True(t, ok)
	require.Equal(t, "y", v)
	require.Equal(t, "127.0.0.1", got.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr).IP.String())
}

func TestInterimAnswersPass(t *testing.T) {
	url := startServer(t, &Server{SendInterim: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
	})})
	h, err := proxy.NewHandler("/", url)
	require.NoError(t, err)
	h.Transport = newTransport(t, &Transport{})
	front := httptest.NewServer(h)
	t.Cleanup(front.Close)
	var codes []int
	r, err := http.NewRequestWithContext(traceInterim(&codes), "GET", front.URL, nil)
	require.NoError(t, err)
	resp, err := front.Client().Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusTeapot, resp.StatusCode)
	require.Equal(t, []int{http.StatusEarlyHints}, codes)
}

func TestFlushReachesTheClient(t *testing.T) {
	goOn := make(chan struct{})
	url := startServer(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		<-goOn
		_, _ = io.WriteString(w, " second")
	})})
	h, err := NewHandler("/", url)
	require.NoError(t, err)
	h.Transport = newTransport(t, &Transport{})
	front := httptest.NewServer(h)
	t.Cleanup(front.Close)
	resp, err := front.Client().Get(front.URL)
	require.NoError(t, err)
	defer resp.Body.Close()
	piece := make([]byte, 5)
	_, err = io.ReadFull(resp.Body, piece)
	require.NoError(t, err)
	require.Equal(t, "first", string(piece))
	close(goOn)
	rest, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, " second", string(rest))
}

// TestBodyIsReadWhileAnswering sends back each line as it comes.
func TestBodyIsReadWhileAnswering(t *testing.T) {
	url := startServer(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(bytes.ToUpper(buf[:n]))
			w.(http.Flusher).Flush()
			if err != nil {
				return
			}
		}
	})})
	client := &http.Client{Transport: newTransport(t, &Transport{})}
	pr, pw := io.Pipe()
	words := make(chan string, 1)
	go func() { // what is asked for in the middle of the answer is sent while that is read
		for w := range words {
			_, _ = io.WriteString(pw, w)
		}
		_ = pw.Close()
	}()
	words <- "one"
	resp, err := client.Post(url, "text/plain", pr)
	require.NoError(t, err)
	defer resp.Body.Close()
	piece := make([]byte, 3)
	for _, word := range []string{"one", "two", "six"} {
		if word != "one" {
			words <- word
		}
		_, err = io.ReadFull(resp.Body, piece)
		require.NoError(t, err)
		require.Equal(t, strings.ToUpper(word), string(piece))
	}
	close(words)
	rest, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Empty(t, rest)
}

func TestEarlyAnswerEndsTheUpload(t *testing.T) {
	url := startServer(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	})})
	client := &http.Client{Transport: newTransport(t, &Transport{})}
	for _, length := range []int64{-1, 1 << 30} {
		pr, pw := io.Pipe() // nothing ever comes
		r, err := http.NewRequest("POST", url, pr)
		require.NoError(t, err)
		r.ContentLength = length
		resp, err := client.Do(r)
		require.NoError(t, err)
		require.Equal(t, http.StatusForbidden, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
		_, err = pw.Write([]byte("x"))
		require.Error(t, err, "the body was closed")
	}
}

// TestAskingForMoreHoldsUpNothing has a client that sends the next line when it
// has seen the answer to the one before.
func TestAskingForMoreHoldsUpNothing(t *testing.T) {
	url := startContainer(t, func(_ int, c net.Conn) {
		takePacket(c)
		_, _ = c.Write(packets(sendHeaders(200, nil), appendChunk(nil, []byte("one")), appendChunk(nil, nil), appendAsk(nil, 100)))
		if line := takePacket(c); len(line) > 2 {
			_, _ = c.Write(packets(appendChunk(nil, line[2:]), endResponse))
			takePacket(c)
		}
	})
	h, err := NewHandler("/", url)
	require.NoError(t, err)
	h.Transport = newTransport(t, &Transport{})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	pr, pw := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	context.AfterFunc(ctx, func() { _ = pw.CloseWithError(ctx.Err()) }) // net/http waits for a read of it to end
	r, err := http.NewRequestWithContext(ctx, "POST", front.URL, pr)
	require.NoError(t, err)
	resp, err := front.Client().Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	piece := make([]byte, 3)
	_, err = io.ReadFull(resp.Body, piece)
	require.NoError(t, err)
	require.Equal(t, "one", string(piece))
	_, err = io.WriteString(pw, "two")
	require.NoError(t, err)
	_, err = io.ReadFull(resp.Body, piece)
	require.NoError(t, err)
	require.Equal(t, "two", string(piece))
	require.NoError(t, pw.Close())
}
