package apache

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// http2Directives are those of the core and mod_http2 about what is spoken with
// clients.
func http2Directives() []directive {
	number := func(name, note string, low, high int, field func(s *http2Settings) **int) directive {
		return directive{name: name, in: anyServer, min: 1, max: 1, note: note, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			n, err := strconv.Atoi(d.Args[0])
			if err != nil || n < low || n > high {
				return fmt.Errorf("want a number from %d to %d", low, high)
			}
			*field(&s.settings.ssl.http2) = &n
			return nil
		}}
	}
	return []directive{
		{name: "Protocols", in: anyServer, min: 1, max: -1, note: "h2, h2c, http/1.1; HTTP/1.1 is always spoken with those who speak nothing else, as in httpd", apply: func(b *builder, s *scope, d *conf.Directive) error {
			s.settings.ssl.spoken = []string{}
			for _, word := range d.Args {
				switch word = strings.ToLower(word); word {
				case "h2", "h2c", "http/1.1":
					s.settings.ssl.spoken = append(s.settings.ssl.spoken, word)
				case "acme-tls/1":
					return conf.WithHint(errors.New("certificates are not ordered here"), "let certbot or an ACME client of its own write the files of SSLCertificateFile")
				default:
					b.warn(d.Errorf("protocol %q is not known, and not spoken", word))
				}
			}
			return nil
		}},
		{name: "ProtocolsHonorOrder", in: anyServer, min: 1, max: 1, apply: applySwitch(func(s *settings) **bool { return &s.ssl.serversWay })},
		number("H2MaxSessionStreams", "of the first virtual host at an address, as all H2…", 1, 1<<30, func(s *http2Settings) **int { return &s.streams }),
		number("H2WindowSize", "up to 4 MB", 1, 1<<31-1, func(s *http2Settings) **int { return &s.window }),
		number("H2MaxDataFrameLen", "net/http chooses the size of frames; this one is checked alone", 0, 1<<24, func(s *http2Settings) **int { return &s.frame }),
		{name: "H2WebSockets", in: anyServer, min: 1, max: 1, note: "WebSockets come in HTTP/1.1, which browsers choose by themselves where HTTP/2 does not offer them", apply: func(b *builder, _ *scope, d *conf.Directive) error {
			on, err := onOff(d)
			if err == nil && on {
				b.warn(d.Errorf("H2WebSockets has no effect: WebSockets are spoken over HTTP/1.1, which clients choose by themselves"))
			}
			return err
		}},
		{name: "H2EarlyHint", in: anywhere, min: 2, max: 2, note: "early hints are those of the backend", apply: func(b *builder, _ *scope, d *conf.Directive) error {
			b.warn(d.Errorf("H2EarlyHint has no effect: early hints are those of the backend"))
			return nil
		}},
	}
}

// speaks reports whether a host speaks a protocol, of which httpd's default is
// HTTP/1.1 alone.
func (s *sslSettings) speaks(protocol string) bool { return slices.Contains(s.spoken, protocol) }

// http2Config is what net/http is told of HTTP/2 at an address.
func (s *http2Settings) config() *http.HTTP2Config {
	c := &http.HTTP2Config{MaxConcurrentStreams: said(s.streams, 100)} // httpd's default
	if window := said(s.window, 0); window > 0 {
		c.MaxReceiveBufferPerStream = min(window, 4<<20-1)
	}
	return c
}

// protocols are those that the server of an address knows; which of them it speaks
// over TLS is found in the handshake.
func (st *generation) protocols(listen string) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	ip, port := splitAddress(listen)
	for i, h := range st.hosts {
		if (i == 0 || h.scope.serves(ip, port)) && h.settings.ssl.speaks("h2c") {
			p.SetUnencryptedHTTP2(true)
		}
	}
	return p
}
