package apache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/ftpproxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// ftpDirectives are those of mod_proxy_ftp.
func ftpDirectives() []directive {
	const dir = anywhere
	return []directive{
		{name: "ProxyFtpDirCharset", in: dir, min: 1, max: 1, note: "UTF-8 unless it is set, and not ISO-8859-1", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			if !httpguts.ValidHeaderFieldName(d.Args[0]) { // it is to be a token, too
				return fmt.Errorf("%q is no name of a charset", d.Args[0])
			}
			s.settings.ftpCharset = d.Args[0]
			return nil
		}},
		{name: "ProxyFtpEscapeWildcards", in: dir, min: 1, max: 1, note: "a name is tried as it is first", apply: applySwitch(func(s *settings) **bool { return &s.ftpEscape })},
		{name: "ProxyFtpListOnWildcard", in: dir, min: 1, max: 1, note: "a name that exists is served; patterns are matched here", apply: applySwitch(func(s *settings) **bool { return &s.ftpWildcards })},
	}
}

func isFTP(text string) bool {
	scheme, _, _ := strings.Cut(text, "://")
	switch strings.ToLower(scheme) {
	case "ftp", "ftps", "ftpes":
		return true
	}
	return false
}

// cutUser takes the userinfo off the authority of a URL.
func cutUser(authority string) (user, host string) {
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		return authority[:i], authority[i+1:]
	}
	return "", authority
}

var errFTPTarget = errors.New("user and password of a target must be escaped")

// ftpTransport speaks FTP as the sections say that apply to a request.
type ftpTransport struct {
	b        *backend.Backend // nil: one for each host
	backends exchange.Backends
	idle     *backend.IdleLimit                                                // of a forward proxy
	dial     func(ctx context.Context, network, addr string) (net.Conn, error) // of a forward proxy
	dialData func(ctx context.Context, network, addr string) (net.Conn, error) // of one, by no parent
	timeout  time.Duration
	user     *url.Userinfo
	opt      options
}

// newFTP makes what speaks FTP. A user in the target logs in for all clients.
func (h *host) newFTP(b *backend.Backend, user *url.Userinfo) (*link, error) {
	if b.IdleTTL == 0 {
		b.IdleTTL = ftpproxy.DefaultIdleTTL
	}
	if b.MaxIdle == 0 {
		b.MaxIdle = ftpproxy.DefaultMaxIdle
	}
	b.MinIdle = 0 // connections belong to users
	return &link{&ftpTransport{b: b, user: user, opt: h.opt}, b, func() {}}, nil
}

// RoundTrip sends a request under the settings of its sections.
func (t *ftpTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	b := t.b
	if b == nil {
		var err error
		if b, _, err = t.backends.For(r.URL, nil, t.newBackend, "ftp"); err != nil {
			if r.Body != nil {
				_ = r.Body.Close()
			}
			return nil, err
		}
	}
	ft := &ftpproxy.Transport{Backend: b, User: t.user, EscapeWildcards: true}
	switch {
	case t.dialData != nil: // data comes from the server, of several of that name, that control went to
		ft.DialData = t.dialData
	case t.opt.source.IsValid() || len(t.opt.Resolve) > 0:
		d := &net.Dialer{}
		if t.opt.source.IsValid() {
			d.LocalAddr = &net.TCPAddr{IP: t.opt.source.AsSlice()}
		}
		ft.DialData = d.DialContext // -resolve says where the server is: data comes from there, too
	}
	if v := visitOf(r); v != nil && v.served != nil {
		s := &v.served.settings
		ft.Charset = s.ftpCharset
		ft.EscapeWildcards = said(s.ftpEscape, true)
		ft.NoWildcards = !said(s.ftpWildcards, true)
	}
	return ft.RoundTrip(r)
}

// newBackend is for a host that a client of the forward proxy has named.
func (t *ftpTransport) newBackend(u *url.URL) *backend.Backend {
	b := &backend.Backend{URL: u, DialContext: t.dial, Timeout: t.timeout, IdleTTL: ftpproxy.DefaultIdleTTL, MaxIdle: ftpproxy.DefaultMaxIdle}
	t.idle.Add(b)
	return b
}

// CloseIdleConnections closes those to hosts that clients have named.
func (t *ftpTransport) CloseIdleConnections() { t.backends.Retire() }
