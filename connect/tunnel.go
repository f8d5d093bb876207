package connect

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

// headTime is how long a client may take to accept the head of the answer,
// which fits into every socket's buffer.
const headTime = 10 * time.Second

// joinConn takes the client's connection over and joins it to the destination.
// The tunnel runs on after the handler has returned.
func (t *opening) joinConn() error {
	client, buffered, err := http.NewResponseController(t.w).Hijack()
	if err != nil {
		t.giveUp()
		return &exchange.Error{Op: exchange.OpUpgrade, Status: http.StatusInternalServerError, Err: fmt.Errorf("client's connection cannot be taken over: %w", err)}
	}
	_ = client.SetDeadline(time.Now().Add(headTime)) // the tunnel clears it
	head := []byte("HTTP/1.1 200 Connection Established\r\n")
	for name, values := range t.w.Header() { // what middleware has set: net/http writes nothing any more
		if name != "Content-Length" && name != "Transfer-Encoding" {
			head = appendField(head, name, values)
		}
	}
	if _, err := client.Write(append(head, "\r\n"...)); err != nil {
		_ = client.Close()
		t.giveUp()
		t.h.logEnd(t.r.Context(), Account{Stats: tunnel.Stats{ClientAddr: t.r.RemoteAddr, Target: t.address(), Err: err}})
		return nil // nobody is left to be told
	}
	early := make([]byte, buffered.Reader.Buffered())
	_, _ = io.ReadFull(buffered.Reader, early)
	t.start(client, early, nil)
	return nil
}

// joinStream joins the stream of a CONNECT over HTTP/2 to the destination. It
// returns when the tunnel has ended, since the stream ends with the handler.
func (t *opening) joinStream() error {
	s := &streamConn{body: t.r.Body, ctx: t.r.Context(), w: t.w, rc: http.NewResponseController(t.w), closed: make(chan struct{})}
	t.w.WriteHeader(http.StatusOK)
	if err := s.rc.Flush(); err != nil {
		t.giveUp()
		panic(http.ErrAbortHandler) // nobody is left to be told
	}
	ended := make(chan error, 1)
	t.start(s, nil, ended)
	err := <-ended
	<-s.closed
	if err != nil {
		panic(http.ErrAbortHandler) // resets the stream: a cut is no clean end
	}
	return nil
}

// giveUp lets go of what was opened.
func (t *opening) giveUp() {
	_ = t.back.Close()
	t.place.free()
}

// start hands both ends to the registry. ended, if not nil, is told why the
// tunnel has ended.
func (t *opening) start(client io.ReadWriteCloser, early []byte, ended chan<- error) {
	h, place, user := t.h, t.place, access.User(t.r.Context()) // the request must not live as long as the tunnel
	var ctx context.Context                                    // for the log alone
	if h.Logger != nil {
		ctx = context.WithoutCancel(t.r.Context())
	}
	err := h.tunnels().Start(tunnel.Tunnel{
		Client: client, Backend: t.back, ClientData: early,
		IdleTimeout: max(cmp.Or(h.IdleTimeout, DefaultIdleTimeout), 0), MaxLife: h.MaxLife,
		Protocol: "CONNECT", Target: t.address(), ClientAddr: t.r.RemoteAddr,
		OnEnd: func(s tunnel.Stats) {
			place.free()
			a := Account{Stats: s, User: user}
			h.logEnd(ctx, a)
			if h.OnEnd != nil {
				h.OnEnd(a)
			}
			if ended != nil {
				ended <- s.Err
			}
		},
	})
	if err == nil {
		return
	}
	place.free() // shut down: both ends are closed
	if ended != nil {
		ended <- err
	}
}

// logEnd logs the end of a tunnel.
func (h *Handler) logEnd(ctx context.Context, a Account) {
	if h.Logger == nil {
		return
	}
	attrs := []any{"client", a.ClientAddr, "target", a.Target, "sent", a.Sent, "received", a.Received, "duration", a.Duration}
	if a.User != "" {
		attrs = append(attrs, "user", a.User)
	}
	if a.Err != nil {
		attrs = append(attrs, "error", a.Err)
	}
	h.Logger.InfoContext(ctx, "connect: tunnel ended", attrs...)
}
