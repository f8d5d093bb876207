package apache

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy"
)

// clientDirectives say how long a client may keep its request waiting.
func clientDirectives() []directive {
	return []directive{
		{name: "Timeout", in: anyServer, min: 1, max: 1, note: "of clients that neither send nor read, and of backends without ProxyTimeout", apply: func(_ *builder, s *scope, d *conf.Directive) (err error) {
			s.settings.timeout, err = positive(d.Args[0], time.Second)
			return err
		}},
		{name: "RequestReadTimeout", in: anyServer, min: 1, max: -1, note: "header: for all of a head, of those that come in on one address; maxtimeout where there is one; changed by a restart alone. handshake has no effect", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			for _, a := range d.Args {
				stage, value, _ := strings.Cut(a, "=")
				limit, err := parseReadLimit(value)
				if err != nil {
					return fmt.Errorf("%s: %w", a, err)
				}
				switch strings.ToLower(stage) {
				case "header":
					s.settings.readHead = limit
				case "body":
					s.settings.readBody = limit
				case "handshake":
				default:
					return fmt.Errorf("%s is none of header, body and handshake", stage)
				}
			}
			return nil
		}},
	}
}

// readLimit is a part of RequestReadTimeout. A zero timeout is no limit.
type readLimit struct {
	timeout, most time.Duration
	rate          int // bytes that make it a second longer; 0: none do
}

// What counts without RequestReadTimeout.
var (
	defaultReadHead = readLimit{20 * time.Second, 40 * time.Second, 500}
	defaultReadBody = readLimit{timeout: 20 * time.Second, rate: 500}
)

// parseReadLimit reads "timeout[-maxtimeout][,MinRate=rate]".
func parseReadLimit(s string) (*readLimit, error) {
	times, rate, rated := strings.Cut(strings.ToLower(s), ",minrate=")
	first, most, ranged := strings.Cut(times, "-")
	if ranged && !rated {
		return nil, fmt.Errorf("a range of timeouts needs MinRate")
	}
	var l readLimit
	number := func(s string, into *int) error {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return fmt.Errorf("%q is no number", s)
		}
		*into = int(n)
		return nil
	}
	var seconds, mostSeconds int
	if err := number(first, &seconds); err != nil {
		return nil, err
	}
	if ranged {
		if err := number(most, &mostSeconds); err != nil {
			return nil, err
		}
		if mostSeconds > 0 && seconds >= mostSeconds {
			return nil, fmt.Errorf("the longest timeout is not above the first")
		}
	}
	if rated {
		if err := number(rate, &l.rate); err != nil {
			return nil, err
		}
		if l.rate == 0 {
			return nil, fmt.Errorf("MinRate is not above zero")
		}
	}
	l.timeout, l.most = time.Duration(seconds)*time.Second, time.Duration(mostSeconds)*time.Second
	return &l, nil
}

// clientLimits are those of a host's clients.
func (s *settings) clientLimits() *proxy.ClientLimits {
	body := said(s.readBody, defaultReadBody)
	return &proxy.ClientLimits{
		Timeout:     said(s.timeout, proxy.DefaultClientTimeout),
		BodyTimeout: body.timeout, BodyMaxTimeout: body.most, BodyMinRate: body.rate,
	}
}

// headTimeout is how long the heads of requests may take that come in on an
// address. Which host they are for is not known by then: its first one counts.
// net/http has one limit, whatever the client sends.
func (st *generation) headTimeout(listen string) time.Duration {
	head := said(st.host(listen, &http.Request{}).settings.readHead, defaultReadHead)
	return max(head.timeout, head.most)
}

// idleTimeout is how long a connection that came in on an address waits for its
// next request.
func (st *generation) idleTimeout(listen string) time.Duration {
	return said(st.host(listen, &http.Request{}).settings.idleTimeout, time.Minute)
}
