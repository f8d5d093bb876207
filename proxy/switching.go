package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/http1"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

// switchProtocols passes a 101 on and joins the two connections. The relay
// runs on after the handler has returned.
func (p *passage) switchProtocols() error {
	resp := p.resp
	back, ok := resp.Body.(io.ReadWriteCloser)
	protocol := exchange.UpgradeOf(resp.Header)
	refuse := func(format string, args ...any) error {
		_ = resp.Body.Close()
		return &exchange.Error{Op: exchange.OpUpgrade, Backend: p.record.Backend, Status: http.StatusBadGateway, Err: fmt.Errorf(format, args...)}
	}
	switch {
	case p.upgrade == "" || !strings.EqualFold(protocol, p.upgrade):
		return refuse("%w: backend switched to a protocol that was not asked for", exchange.ErrMalformed)
	case !ok:
		return refuse("transport gave a 101 answer whose body cannot be written")
	}
	if h := p.h; h.Via == ViaOn || h.Via == ViaFull {
		resp.Header["Via"] = p.via(resp.Header["Via"])
	}
	filter := exchange.HopByHopOf(resp.Header)
	filter.Strip(resp.Header)
	started := false
	defer func() {
		if !started { // refused, or a function of the user has panicked
			_ = resp.Body.Close()
		}
	}()
	if p.h.ModifyResponse != nil {
		if err := p.h.ModifyResponse(resp); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusSwitchingProtocols {
			return refuse("ModifyResponse made %d of a switch of protocols", resp.StatusCode)
		}
	}
	tn := tunnel.Tunnel{
		Backend: back, IdleTimeout: p.h.TunnelTimeout,
		Protocol: strings.Clone(protocol), Target: p.record.Backend, ClientAddr: p.in.RemoteAddr, // not to keep the head of the answer
	}
	if p.h.OnTunnel != nil {
		if resp.Request == nil {
			resp.Request = p.out
		}
		if err := p.h.OnTunnel(resp, &tn); err != nil {
			var e *exchange.Error
			if errors.As(err, &e) {
				return err
			}
			return refuse("%w", err)
		}
	}
	tunnels := p.h.tunnels()
	if tunnels.Closing() {
		return &exchange.Error{Op: exchange.OpUpgrade, Backend: p.record.Backend, Status: http.StatusServiceUnavailable, Err: http.ErrServerClosed}
	}
	var err error
	if tn.Client, tn.ClientData, err = p.takeOver(protocol); err != nil {
		return err
	}
	started = true
	return tunnels.Start(tn)
}

// Switcher is a ResponseWriter that has a way of its own to switch protocols,
// such as HTTP/2, where the connection cannot be hijacked.
type Switcher interface {
	http.ResponseWriter

	// SwitchProtocols tells the client that the switch has taken place, with
	// the fields of h, which has neither Connection nor Upgrade, and returns
	// what the new protocol is spoken over. The handler may return before that
	// is closed.
	SwitchProtocols(h http.Header) (io.ReadWriteCloser, error)
}

// switcher looks for a Switcher beneath the wrappers of w.
func switcher(w http.ResponseWriter) Switcher {
	for w != nil {
		if s, ok := w.(Switcher); ok {
			return s
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return nil
		}
		w = u.Unwrap()
	}
	return nil
}

// takeOver sends the 101 and returns the client's connection, and what has come
// of it already.
func (p *passage) takeOver(protocol string) (io.ReadWriteCloser, []byte, error) {
	gone := func(err error) error {
		return &exchange.Error{Op: exchange.OpClient, Backend: p.record.Backend, Status: exchange.StatusClientClosedRequest, Err: err}
	}
	if s := switcher(p.w); s != nil {
		p.sent, p.record.Upgraded, p.record.Status = true, true, http.StatusSwitchingProtocols
		client, err := s.SwitchProtocols(p.upgradeHeader())
		if err != nil {
			return nil, nil, gone(err)
		}
		return client, nil, nil
	}
	client, buffered, err := http.NewResponseController(p.w).Hijack()
	if err != nil {
		return nil, nil, &exchange.Error{Op: exchange.OpUpgrade, Backend: p.record.Backend, Status: http.StatusBadGateway, Err: fmt.Errorf("client's connection cannot be taken over: %w", err)}
	}
	p.sent, p.record.Upgraded, p.record.Status = true, true, http.StatusSwitchingProtocols
	if limit := p.to.limits.timeout(); limit > 0 {
		_ = client.SetWriteDeadline(time.Now().Add(limit))
	}
	if _, err := client.Write(p.upgradeHead(protocol)); err != nil {
		_ = client.Close()
		return nil, nil, gone(err)
	}
	_ = client.SetWriteDeadline(time.Time{}) // from here on the tunnel has limits of its own
	early := make([]byte, buffered.Reader.Buffered())
	_, _ = io.ReadFull(buffered.Reader, early)
	return client, early, nil
}

// requiredUpgrade returns the protocol that a 426 asks the client to switch to,
// if this proxy would let it (RFC 9110 section 15.5.22), or else "".
func (p *passage) requiredUpgrade() string {
	if p.resp.StatusCode != http.StatusUpgradeRequired || p.in.ProtoMajor != 1 {
		return ""
	}
	if protocol := exchange.UpgradeOf(p.resp.Header); p.h.allowsUpgrade(protocol) {
		return protocol
	}
	return ""
}

// upgradeHeader is the header of the 101 as the client gets it.
func (p *passage) upgradeHeader() http.Header {
	h := p.w.Header().Clone()
	if h == nil {
		h = make(http.Header)
	}
	for name, values := range p.resp.Header {
		h[name] = append(h[name], values...)
	}
	delete(h, "Connection")
	delete(h, "Upgrade")
	return h
}

// upgradeHead is the head of the 101: net/http writes nothing after a hijack,
// so it is written here.
func (p *passage) upgradeHead(protocol string) []byte {
	b := []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n")
	b = http1.AppendField(b, "Upgrade", protocol)
	for name, values := range p.upgradeHeader() {
		for _, v := range values {
			if syntax.IsToken(name) && syntax.ValidValue(v) {
				b = http1.AppendField(b, name, v)
			}
		}
	}
	return append(b, "\r\n"...)
}

// tunnels is where the handler's tunnels are registered.
func (h *Handler) tunnels() *tunnel.Registry {
	if h.Tunnels != nil {
		return h.Tunnels
	}
	return &h.ownTunnels
}

// Shutdown refuses new tunnels, has the clients of those that run told to go
// away, where that can be done, and waits until they have, or until ctx ends: see
// [tunnel.Registry]. http.Server.Shutdown neither ends tunnels nor waits for
// them; it does so for all else that a Handler does. Package graceful calls both.
func (h *Handler) Shutdown(ctx context.Context) error { return h.tunnels().Shutdown(ctx) }
