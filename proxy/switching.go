package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// switchProtocols passes a 101 on and joins the two connections. The relay
// runs on after the handler has returned.
func (p *passage) switchProtocols() error {
	resp := p.resp
	back, ok := resp.Body.(io.ReadWriteCloser)
	protocol := upgradeOf(resp.Header)
	refuse := func(format string, args ...any) error {
		_ = resp.Body.Close()
		return &Error{Op: OpUpgrade, Backend: p.record.Backend, Status: http.StatusBadGateway, Err: fmt.Errorf(format, args...)}
	}
	switch {
	case p.upgrade == "" || !strings.EqualFold(protocol, p.upgrade):
		return refuse("%w: backend switched to a protocol that was not asked for", ErrMalformed)
	case !ok:
		return refuse("transport gave a 101 answer whose body cannot be written")
	}
	if h := p.h; h.Via == ViaOn || h.Via == ViaFull {
		resp.Header["Via"] = p.via(resp.Header["Via"])
	}
	filter := newHopFilter(resp.Header)
	filter.strip(resp.Header)
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
	}
	client, buffered, err := http.NewResponseController(p.w).Hijack()
	if err != nil {
		return refuse("client's connection cannot be taken over: %w", err)
	}
	p.sent, p.record.Upgraded, p.record.Status = true, true, http.StatusSwitchingProtocols
	head := p.upgradeHead(protocol)
	if _, err := client.Write(head); err != nil {
		_ = client.Close()
		return &Error{Op: OpClient, Backend: p.record.Backend, Status: StatusClientClosedRequest, Err: err}
	}
	early := make([]byte, buffered.Reader.Buffered())
	_, _ = io.ReadFull(buffered.Reader, early)
	tunnels := p.h.Tunnels
	if tunnels == nil {
		tunnels = &p.h.ownTunnels
	}
	started = true
	return tunnels.Start(Tunnel{
		Client: client, Backend: back, ClientData: early,
		IdleTimeout: p.h.TunnelTimeout,
		Protocol:    protocol, Target: p.record.Backend, ClientAddr: p.in.RemoteAddr,
	})
}

// requiredUpgrade returns the protocol that a 426 asks the client to switch to,
// if this proxy would let it (RFC 9110 section 15.5.22), or else "".
func (p *passage) requiredUpgrade() string {
	if p.resp.StatusCode != http.StatusUpgradeRequired || p.in.ProtoMajor != 1 {
		return ""
	}
	if protocol := upgradeOf(p.resp.Header); p.h.allowsUpgrade(protocol) {
		return protocol
	}
	return ""
}

// upgradeHead is the 101 as the client gets it: net/http writes nothing after
// a hijack, so it is written here.
func (p *passage) upgradeHead(protocol string) []byte {
	h := p.w.Header().Clone()
	for name, values := range p.resp.Header {
		h[name] = append(h[name], values...)
	}
	h["Connection"] = []string{"Upgrade"}
	h["Upgrade"] = []string{protocol}
	b := []byte("HTTP/1.1 101 Switching Protocols\r\n")
	for name, values := range h {
		for _, v := range values {
			if isToken(name) && validValue(v) {
				b = appendField(b, name, v)
			}
		}
	}
	return append(b, "\r\n"...)
}
