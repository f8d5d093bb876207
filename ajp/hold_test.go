package ajp

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
)

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

// TestEndOfAnswerWithoutBodyLiedAbout has an end that comes with the head.
func TestEndOfAnswerWithoutBodyLiedAbout(t *testing.T) {
	for name, end := range map[string][]byte{
		"magic":  {'X', 'X', 0, 2, typeEndResponse, 1},
		"length": {0x41, 0x42, 0, 3, typeEndResponse, 1, 1},
	} {
		for _, head := range [][]byte{sendHeaders(204, nil), sendHeaders(200, http.Header{"Content-Length": {"0"}})} {
			tr := newScripted(t, packets(head, end), 1000)
			_, err := tr.RoundTrip(httptest.NewRequest("GET", "ajp://h/", nil))
			require.ErrorIs(t, err, proxy.ErrMalformed, name)
			require.Equal(t, http.StatusBadGateway, proxy.StatusOf(err), name)
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
	require.Equal(t, http.StatusServiceUnavailable, proxy.StatusOf(err))
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
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, proxy.StatusOf(err))
	}
	require.EqualValues(t, 1, b.Stats().Created)
}

func TestAttributesThatPanicFreeTheirConnection(t *testing.T) {
	url := startServer(t, &Server{Handler: echo})
	b := newBackend(t, url)
	tr := &Transport{Backend: b, Attributes: func(*http.Request) []Attribute { panic("oops") }}
	require.Panics(t, func() { _, _ = tr.RoundTrip(httptest.NewRequest("GET", url+"/", nil)) })
	require.Zero(t, b.Stats().Open)
}

// TestPongAfterTheTimeLimitOfAnAnswer has a connection that was idle for longer
// than an answer may take.
func TestPongAfterTheTimeLimitOfAnAnswer(t *testing.T) {
	s := &Server{Handler: echo}
	url := startServer(t, s)
	b := newBackend(t, url)
	require.NoError(t, CPing(t.Context(), b))
	s.mu.Lock()
	for c := range s.conns {
		require.NoError(t, c.nc.SetWriteDeadline(time.Unix(1, 0))) // as left by an answer of long ago
	}
	s.mu.Unlock()
	require.NoError(t, CPing(t.Context(), b))
	require.EqualValues(t, 1, b.Stats().Created)
}

// TestCloseEndsContexts has a handler that does not read the body.
func TestCloseEndsContexts(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan error, 1)
	s := &Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		<-ctx.Done()
		ended <- ctx.Err()
	})}
	url := startServer(t, s)
	tr := &Transport{Backend: newBackend(t, url)}
	done := make(chan error, 1)
	go func() {
		_, err := tr.RoundTrip(httptest.NewRequest("POST", url+"/", strings.NewReader("x")))
		done <- err
	}()
	<-begun
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Error(t, <-done)
}
