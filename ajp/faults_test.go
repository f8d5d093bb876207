package ajp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// startContainer answers each connection by f, and returns the URL.
func startContainer(t *testing.T, f func(n int, c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(n, c)
			}()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return "ajp://" + l.Addr().String()
}

// takePacket reads one packet of the proxy.
func takePacket(c net.Conn) []byte {
	head := make([]byte, headSize)
	if _, err := io.ReadFull(c, head); err != nil {
		return nil
	}
	b := make([]byte, getInt(head[2:]))
	if _, err := io.ReadFull(c, b); err != nil {
		return nil
	}
	return b
}

func packets(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// What containers say.
func sendHeaders(status int, h http.Header) []byte {
	b, _ := appendSendHeaders(nil, status, h, MaxPacketSize)
	return b
}

var endResponse = []byte{0x41, 0x42, 0, 2, typeEndResponse, 1}

// TestEachSplit sends an answer in two pieces, split at each byte.
func TestEachSplit(t *testing.T) {
	whole := packets(sendHeaders(103, nil), sendHeaders(200, http.Header{"X-A": {"1", "2"}, "Content-Length": {"8"}}),
		appendChunk(nil, []byte("hell")), appendChunk(nil, nil), appendAsk(nil, 9), appendChunk(nil, []byte("o, w")), endResponse)
	for _, piece := range []int{1, 2, 3, 5, 7, 1000} {
		for at := range len(whole) {
			b := &backend.Backend{URL: &url.URL{Scheme: "ajp", Host: "h"}, DialContext: func(context.Context, string, string) (net.Conn, error) {
				return &split{scripted: scripted{says: whole, piece: piece}, at: at}, nil
			}}
			tr := &Transport{Backend: b}
			resp, err := tr.RoundTrip(httptest.NewRequest("GET", "ajp://h/", nil))
			require.NoError(t, err, "at %d", at)
			require.Equal(t, []string{"1", "2"}, resp.Header["X-A"])
			var got bytes.Buffer
			if piece%2 == 0 {
				_, err = got.ReadFrom(struct{ io.Reader }{resp.Body})
			} else {
				_, err = resp.Body.(io.WriterTo).WriteTo(&got)
			}
			require.NoError(t, err, "at %d", at)
			require.Equal(t, "hello, w", got.String(), "at %d", at)
			require.NoError(t, resp.Body.Close())
			require.NoError(t, b.Close())
		}
	}
}

// split ends a read at a place of the script.
type split struct {
	scripted
	at int
}

func (s *split) Read(p []byte) (int, error) {
	if s.at > 0 && len(p) > s.at {
		p = p[:s.at]
	}
	n, err := s.scripted.Read(p)
	s.at -= n
	return n, err
}

// TestEveryCut ends an answer at each byte.
func TestEveryCut(t *testing.T) {
	for _, length := range []http.Header{nil, {"Content-Length": {"8"}}} {
		whole := packets(sendHeaders(200, length), appendChunk(nil, []byte("hello, w")), endResponse)
		for at := range len(whole) {
			tr := newScripted(t, whole[:at], 1000)
			resp, err := tr.RoundTrip(httptest.NewRequest("GET", "ajp://h/", nil))
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				require.NoError(t, resp.Body.Close())
			}
			require.Error(t, err, "cut at %d", at)
			require.Equal(t, http.StatusBadGateway, exchange.StatusOf(err))
		}
	}
}

// TestEveryLengthLiedAbout changes each length of an answer.
func TestEveryLengthLiedAbout(t *testing.T) {
	head := func(edit func([]byte)) []byte {
		b := sendHeaders(200, http.Header{"X-A": {"abc"}})
		edit(b)
		return b
	}
	chunk := func(edit func([]byte)) []byte {
		b := packets(sendHeaders(200, nil), appendChunk(nil, []byte("hello")))
		edit(b[len(sendHeaders(200, nil)):])
		return append(b, endResponse...)
	}
	for name, says := range map[string][]byte{
		"magic":                 head(func(b []byte) { b[0] = 'X' }),
		"packet too long":       head(func(b []byte) { putInt(b[2:], 8189) }),
		"packet too short":      head(func(b []byte) { b[3]-- }),
		"packet longer":         append(head(func(b []byte) { b[3]++ }), 0),
		"packet empty":          {0x41, 0x42, 0, 0, 4},
		"type":                  head(func(b []byte) { b[4] = 99 }),
		"status":                head(func(b []byte) { putInt(b[5:], 99) }),
		"status of four digits": head(func(b []byte) { putInt(b[5:], 1000) }),
		"reason":                head(func(b []byte) { putInt(b[7:], 200) }),
		"number of fields":      head(func(b []byte) { b[13]++ }),
		"fewer fields":          head(func(b []byte) { b[13]-- }),
		"most fields":           head(func(b []byte) { putInt(b[12:], 0xffff) }),
		"name":                  head(func(b []byte) { b[15]++ }),
		"null name":             head(func(b []byte) { putInt(b[14:], nullString) }),
		"code of a name":        head(func(b []byte) { putInt(b[14:], 0xa0ff) }),
		"value":                 head(func(b []byte) { b[21]++ }),
		"control byte in value": head(func(b []byte) { b[22] = '\n' }),
		"blank in name":         head(func(b []byte) { b[16] = ' ' }),
		"body before head":      packets(appendChunk(nil, []byte("x")), endResponse),
		"end before head":       endResponse,
		"pong before head":      cpong,
		"two heads":             packets(head(func([]byte) {}), head(func([]byte) {}), endResponse),
		"chunk too long":        chunk(func(b []byte) { b[6] += 2 }),
		"chunk too short":       chunk(func(b []byte) { b[6] -= 2 }),
		"packet of chunk":       chunk(func(b []byte) { b[3]++ }),
		"chunk of 64 KB":        chunk(func(b []byte) { putInt(b[5:], 0xffff) }),
		"end of three bytes":    packets(sendHeaders(200, nil), []byte{0x41, 0x42, 0, 3, 5, 1, 1}),
		"ask for none":          packets(sendHeaders(200, nil), appendAsk(nil, 0), endResponse),
		"body too long":         packets(sendHeaders(200, http.Header{"Content-Length": {"4"}}), appendChunk(nil, []byte("hello")), endResponse),
		"body too short":        packets(sendHeaders(200, http.Header{"Content-Length": {"6"}}), appendChunk(nil, []byte("hello")), endResponse),
		"lengths in conflict":   packets(sendHeaders(200, http.Header{"Content-Length": {"4", "5"}}), appendChunk(nil, []byte("hell")), endResponse),
		"length is no number":   packets(sendHeaders(200, http.Header{"Content-Length": {"+4"}}), appendChunk(nil, []byte("hell")), endResponse),
		"switch of protocols":   packets(sendHeaders(101, nil), endResponse),
		"interim without end":   bytes.Repeat(sendHeaders(103, nil), 11),
	} {
		t.Run(name, func(t *testing.T) {
			for _, bulk := range []bool{false, true} {
				tr := newScripted(t, says, 1000)
				resp, err := tr.RoundTrip(httptest.NewRequest("GET", "ajp://h/", nil))
				if err == nil {
					if wt := resp.Body.(io.WriterTo); bulk {
						_, err = wt.WriteTo(io.Discard)
					} else {
						_, err = io.ReadAll(resp.Body)
					}
					require.NoError(t, resp.Body.Close())
				}
				require.Error(t, err)
				require.Equal(t, http.StatusBadGateway, exchange.StatusOf(err))
				require.Zero(t, tr.Backend.Stats().Open, "such a connection is not used again")
			}
		})
	}
}

func TestHeadTooLargeForAPacket(t *testing.T) {
	url := startServer(t, &Server{Handler: echo})
	tr := &Transport{Backend: newBackend(t, url)}
	for _, n := range []int{8188, 70000} {
		r := httptest.NewRequest("GET", url+"/", nil)
		r.Header.Set("X-Long", strings.Repeat("l", n))
		_, err := tr.RoundTrip(r)
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, exchange.StatusOf(err), "%v", err)
		require.ErrorContains(t, err, "8192")
		require.False(t, exchange.MayResend(err))
	}
}

func TestRequestsThatCanBeReadInTwoWaysAreRefused(t *testing.T) {
	url := startServer(t, &Server{Handler: echo})
	tr := &Transport{Backend: newBackend(t, url)}
	for name, edit := range map[string]func(*http.Request){
		"method":         func(r *http.Request) { r.Method = "G T" },
		"path":           func(r *http.Request) { r.URL.Opaque = "/a b" },
		"query":          func(r *http.Request) { r.URL.RawQuery = "a\nb" },
		"host":           func(r *http.Request) { r.Host = "a b" },
		"name":           func(r *http.Request) { r.Header["A b"] = []string{"x"} },
		"value":          func(r *http.Request) { r.Header["A"] = []string{"x\r\ny"} },
		"length":         func(r *http.Request) { r.Header["content-length"] = []string{"5"} },
		"transfer":       func(r *http.Request) { r.Header["TRANSFER-ENCODING"] = []string{"chunked"} },
		"another scheme": func(r *http.Request) { r.URL.Scheme = "http" },
	} {
		r := httptest.NewRequest("GET", url+"/", nil)
		edit(r)
		_, err := tr.RoundTrip(r)
		require.Error(t, err, name)
		want := http.StatusBadRequest
		if name == "another scheme" {
			want = http.StatusInternalServerError
		}
		require.Equal(t, want, exchange.StatusOf(err), name)
	}
}

func TestStaleConnections(t *testing.T) {
	url := startContainer(t, func(n int, c net.Conn) {
		if takePacket(c) == nil {
			return
		}
		_, _ = c.Write(packets(sendHeaders(200, nil), endResponse))
		if n == 1 {
			takePacket(c) // and close over the next
		}
	})
	b := newBackend(t, url)
	tr := &Transport{Backend: b}
	for range 2 {
		resp, err := tr.RoundTrip(httptest.NewRequest("GET", url+"/", nil))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	require.EqualValues(t, 1, b.Stats().Reused)
}

// TestStaleConnectionIsNoPlaceForAPost has a container that took the request
// and closed: it may have acted on it.
func TestStaleConnectionIsNoPlaceForAPost(t *testing.T) {
	url := startContainer(t, func(n int, c net.Conn) {
		takePacket(c)
		_, _ = c.Write(packets(sendHeaders(200, nil), endResponse))
		takePacket(c)
	})
	tr := &Transport{Backend: newBackend(t, url)}
	resp, err := tr.RoundTrip(httptest.NewRequest("GET", url+"/", nil))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	_, err = tr.RoundTrip(httptest.NewRequest("POST", url+"/", nil))
	require.ErrorIs(t, err, exchange.ErrStaleConn)
	require.Equal(t, http.StatusBadGateway, exchange.StatusOf(err))
	require.False(t, exchange.MayResend(err))
}

func TestNoPong(t *testing.T) {
	silent := make(chan struct{})
	t.Cleanup(func() { close(silent) })
	asked := make(chan int, 10)
	url := startContainer(t, func(n int, c net.Conn) {
		takePacket(c)
		asked <- n
		<-silent
	})
	tr := &Transport{Backend: newBackend(t, url), Ping: 50 * time.Millisecond}
	body := &closeCounter{Reader: strings.NewReader("body")}
	r := httptest.NewRequest("POST", url+"/", body)
	_, err := tr.RoundTrip(r)
	require.ErrorIs(t, err, errNoPong)
	require.Equal(t, http.StatusServiceUnavailable, exchange.StatusOf(err))
	require.True(t, exchange.MayResend(err))
	require.Equal(t, 1, <-asked)
	require.Equal(t, 2, <-asked)
	require.Empty(t, asked)
	require.Positive(t, body.closed)

	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, CPing(ctx, tr.Backend), errNoPong)
}

type closeCounter struct {
	io.Reader
	closed int
}

func (c *closeCounter) Close() error {
	c.closed++
	return nil
}

// TestNoPongOnOneConnection has the second answer.
func TestNoPongOnOneConnection(t *testing.T) {
	silent := make(chan struct{})
	t.Cleanup(func() { close(silent) })
	url := startContainer(t, func(n int, c net.Conn) {
		takePacket(c)
		if n == 1 {
			<-silent
			return
		}
		_, _ = c.Write(cpong)
		takePacket(c)
		body := takePacket(c)
		_, _ = c.Write(packets(sendHeaders(200, http.Header{"X-Body": {string(body[2:])}}), endResponse))
		takePacket(c)
	})
	tr := &Transport{Backend: newBackend(t, url), Ping: 2 * time.Second}
	resp, err := tr.RoundTrip(httptest.NewRequest("POST", url+"/", strings.NewReader("body")))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "body", resp.Header.Get("X-Body"))
}

func TestTimeout(t *testing.T) {
	silent := make(chan struct{})
	t.Cleanup(func() { close(silent) })
	url := startContainer(t, func(_ int, c net.Conn) {
		takePacket(c)
		<-silent
	})
	b := newBackend(t, url)
	b.Timeout = 50 * time.Millisecond
	tr := &Transport{Backend: b}
	_, err := tr.RoundTrip(httptest.NewRequest("GET", url+"/", nil))
	require.Equal(t, http.StatusGatewayTimeout, exchange.StatusOf(err))
	require.False(t, exchange.MayResend(err))

	b.Timeout = time.Hour
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = (&Transport{Backend: b}).RoundTrip(httptest.NewRequest("GET", url+"/", nil).WithContext(ctx))
	require.Equal(t, http.StatusGatewayTimeout, exchange.StatusOf(err))

	ctx, stop := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, stop)
	_, err = (&Transport{Backend: b}).RoundTrip(httptest.NewRequest("GET", url+"/", nil).WithContext(ctx))
	require.Equal(t, exchange.StatusClientClosedRequest, exchange.StatusOf(err))
	require.ErrorIs(t, err, exchange.ErrClientGone)
}

// TestSlowClientIsNoTimeout has an upload that pauses for longer than the
// container may.
func TestSlowClientIsNoTimeout(t *testing.T) {
	url := startServer(t, &Server{Handler: echo})
	b := newBackend(t, url)
	b.Timeout = 50 * time.Millisecond
	pr, pw := io.Pipe()
	time.AfterFunc(250*time.Millisecond, func() {
		_, _ = io.WriteString(pw, "late")
		_ = pw.Close()
	})
	resp, err := (&Transport{Backend: b}).RoundTrip(httptest.NewRequest("POST", url+"/", pr))
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "late", string(text))
	require.NoError(t, resp.Body.Close())
}

func TestClientsBodyBreaks(t *testing.T) {
	handled := make(chan error, 1)
	url := startServer(t, &Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		handled <- err
	})})
	tr := &Transport{Backend: newBackend(t, url)}
	r := httptest.NewRequest("POST", url+"/", io.MultiReader(strings.NewReader("part"), broken{}))
	r.ContentLength = 100
	_, err := tr.RoundTrip(r)
	require.Equal(t, http.StatusBadRequest, exchange.StatusOf(err))
	require.ErrorIs(t, err, errBroken)
	require.Error(t, <-handled, "the container must not take a part for the whole")

	r = httptest.NewRequest("POST", url+"/", strings.NewReader("part"))
	r.ContentLength = 100
	_, err = tr.RoundTrip(r)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Error(t, <-handled)
}

var errBroken = errors.New("client broke")

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }

// TestCutBodyCutsTheClient has a proxy before a container that ends in the
// middle.
func TestCutBodyCutsTheClient(t *testing.T) {
	url := startContainer(t, func(_ int, c net.Conn) {
		takePacket(c)
		_, _ = c.Write(packets(sendHeaders(200, nil), appendChunk(nil, []byte("part"))))
	})
	h, err := NewHandler("/", url)
	require.NoError(t, err)
	h.Transport = newTransport(t, &Transport{})
	front := httptest.NewServer(h)
	t.Cleanup(front.Close)
	resp, err := front.Client().Get(front.URL)
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		require.NoError(t, resp.Body.Close())
	}
	require.Error(t, err)
}

type slowWriter struct{ net.Conn }

func (s slowWriter) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := s.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// TestEndOfAnswerWithoutBodyLiedAbout has an end that comes with the head.
func TestEndOfAnswerWithoutBodyLiedAbout(t *testing.T) {
	for name, end := range map[string][]byte{
		"magic":  {'X', 'X', 0, 2, typeEndResponse, 1},
		"length": {0x41, 0x42, 0, 3, typeEndResponse, 1, 1},
	} {
		for _, head := range [][]byte{sendHeaders(204, nil), sendHeaders(200, http.Header{"Content-Length": {"0"}})} {
			tr := newScripted(t, packets(head, end), 1000)
			_, err := tr.RoundTrip(httptest.NewRequest("GET", "ajp://h/", nil))
			require.ErrorIs(t, err, exchange.ErrMalformed, name)
			require.Equal(t, http.StatusBadGateway, exchange.StatusOf(err), name)
			require.Zero(t, tr.Backend.Stats().Open)
		}
	}
}

// TestPongIsAllThatComes has the answer to a request before that was sent.
func TestPongIsAllThatComes(t *testing.T) {
	url := startContainer(t, func(_ int, c net.Conn) {
		takePacket(c)
		_, _ = c.Write(packets(cpong, sendHeaders(200, nil), endResponse))
		takePacket(c)
	})
	tr := &Transport{Backend: newBackend(t, url), Ping: patience}
	_, err := tr.RoundTrip(httptest.NewRequest("GET", url+"/", nil))
	require.ErrorIs(t, err, errNoPong)
	require.Equal(t, http.StatusServiceUnavailable, exchange.StatusOf(err))
}

// TestRefusedRequestKeepsItsConnection has one that is too large for a packet,
// of which nothing is sent.
func TestRefusedRequestKeepsItsConnection(t *testing.T) {
	url := startServer(t, &Server{Handler: echo})
	b := newBackend(t, url)
	for range 3 {
		r := httptest.NewRequest("GET", url+"/", nil)
		r.Header.Set("X-Long", strings.Repeat("l", 9000))
		_, err := (&Transport{Backend: b}).RoundTrip(r)
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, exchange.StatusOf(err))
	}
	require.EqualValues(t, 1, b.Stats().Created)
}

func TestAttributesThatPanicFreeTheirConnection(t *testing.T) {
	url := startServer(t, &Server{Handler: echo})
	b := newBackend(t, url)
	tr := &Transport{Backend: b, Attributes: func(*http.Request) []Attribute { panic("oops") }}
	require.Panics(t, func() { _, _ = tr.RoundTrip(httptest.NewRequest("GET", url+"/", nil)) })
	require.Zero(t, b.Stats().Open)

	// Nor does that say anything about the container.
	b.Retry = time.Nanosecond
	b.MarkError(io.EOF)
	require.Panics(t, func() { _, _ = tr.RoundTrip(httptest.NewRequest("GET", url+"/", nil)) })
	require.EqualValues(t, 1, b.Stats().Errors)
}
