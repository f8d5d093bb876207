package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/http1"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

// switchProtocols passes a 101 on and joins the two connections. The relay
// runs on after the handler has returned.
func (p *passage) switchProtocols() error {
	resp := p.resp
	_, ok := resp.Body.(io.ReadWriteCloser)
	protocol := exchange.UpgradeOf(resp.Header)
	started := false
	defer func() {
		if !started { // refused, or a function of the user has panicked
			p.closeAnswer()
		}
	}()
	refuse := func(format string, args ...any) error {
		return &exchange.Error{Op: exchange.OpUpgrade, Backend: p.record.Backend, Status: http.StatusBadGateway, Err: fmt.Errorf(format, args...)}
	}
	switch {
	case p.upgrade == "" || !httpguts.HeaderValuesContainsToken([]string{p.upgrade}, protocol):
		return refuse("%w: backend switched to a protocol that was not asked for", exchange.ErrMalformed)
	case !ok:
		return refuse("transport gave a 101 answer whose body cannot be written")
	}
	if h := p.h; h.Via == ViaOn || h.Via == ViaFull {
		resp.Header["Via"] = p.via(resp.Header["Via"])
	}
	filter := exchange.HopByHopOf(resp.Header)
	filter.Strip(resp.Header)
	p.reverse()
	resp.Header["Connection"], resp.Header["Upgrade"] = []string{"Upgrade"}, []string{protocol}
	if p.h.ModifyResponse != nil {
		if err := p.modify(); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusSwitchingProtocols {
			return refuse("ModifyResponse made %d of a switch of protocols", resp.StatusCode)
		}
		if !strings.EqualFold(exchange.UpgradeOf(resp.Header), protocol) {
			return refuse("ModifyResponse made another of the protocol that was switched to")
		}
	}
	back, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		return refuse("ModifyResponse put in a body that cannot be written")
	}
	if p.replaced {
		back = bothEnds{back, &p.back}
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

// bothEnds is what ModifyResponse has put in place of the backend's connection. At
// the end of the tunnel that is closed as well.
type bothEnds struct {
	io.ReadWriteCloser
	back io.Closer
}

func (b bothEnds) Close() error {
	err := b.ReadWriteCloser.Close()
	_ = b.back.Close()
	return err
}

// CloseWrite half-closes the connection if what was put in its place can.
func (b bothEnds) CloseWrite() error {
	if hc, ok := b.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return hc.CloseWrite()
	}
	return errors.ErrUnsupported
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
	head := p.upgradeHead(protocol)
	exchange.AddFields(p.w.Header(), p.resp.Header) // for whoever looks at what was said
	if _, err := client.Write(head); err != nil {
		_ = client.Close()
		return nil, nil, gone(err)
	}
	_ = client.SetWriteDeadline(time.Time{}) // from here on the tunnel has limits of its own
	early := make([]byte, buffered.Reader.Buffered())
	_, _ = io.ReadFull(buffered.Reader, early)
	return client, early, nil
}

// mayUpgrade reports whether the client can switch protocols on its connection at
// all (RFC 9110 section 7.8).
func (p *passage) mayUpgrade() bool { return p.in.ProtoMajor == 1 && p.in.ProtoMinor >= 1 }

// advertised returns the protocols that the answer asks the client to switch to, as
// a 426 must, or offers, as far as this proxy would let it; or "" (RFC 9110 sections
// 7.8 and 15.5.22).
func (p *passage) advertised() string {
	if p.resp.Header["Upgrade"] == nil || !p.mayUpgrade() {
		return ""
	}
	return p.h.allowedUpgrades(p.resp.Header)
}

// advertise tells the client of them.
func (p *passage) advertise(protocols string) {
	if protocols == "" {
		return
	}
	h := p.w.Header()
	if p.in.Close && h["Connection"] == nil {
		h["Connection"] = []string{"close"} // or net/http would put it in place of what follows
	}
	h["Upgrade"] = []string{protocols}
	h["Connection"] = append(h["Connection"], "Upgrade")
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
