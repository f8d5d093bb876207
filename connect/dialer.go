package connect

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	netproxy "golang.org/x/net/proxy"

	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// Dialer opens connections through a parent proxy, by CONNECT. Its DialContext
// fits wherever connections are opened: a [backend.Backend], an
// http.Transport, a [Handler], or another Dialer, which makes a chain. The
// dialers of golang.org/x/net/proxy, such as SOCKS5, fit the same holes, and
// [FromURL] makes a Dialer fit there.
//
// The connection is a bare *net.TCPConn wherever that can be, so that a relay
// may splice. Any number of goroutines may use a Dialer; set its fields before.
type Dialer struct {
	// Proxy is the parent: http://host:port, or https:// to speak TLS to the
	// parent itself. Its userinfo are credentials for it, by the Basic scheme.
	Proxy *url.URL

	// Authorize, if not nil, returns the value of Proxy-Authorization for a
	// destination, in place of the userinfo of Proxy. Empty means none.
	Authorize func(ctx context.Context, address string) (string, error)

	// Header are more fields of each CONNECT.
	Header http.Header

	// TLS configures TLS toward an https parent. If nil, its certificate is
	// verified against the system's roots.
	TLS *tls.Config

	// DialParent connects to the parent. If nil, a net.Dialer; the DialContext
	// of another Dialer makes a chain.
	DialParent func(ctx context.Context, network, address string) (net.Conn, error)

	// Timeout bounds connecting to the parent and its answer. Zero means 30 s;
	// negative means none. The body of a refusal has half of what is left of it,
	// and of the context's time, and at most 5 s.
	Timeout time.Duration
}

// maxAnswer limits the head of a parent's answer.
const maxAnswer = 64 << 10

// viaKey is the key of the Via field that a Handler has for the next proxy.
type viaKey struct{}

// DialContext connects to "host:port" through the parent, which resolves the
// name. Errors are a [*exchange.Error] whose Backend is the parent; a
// [*RefusedError] is in it when the parent has refused.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.dial(ctx, network, address)
	if err != nil {
		e := &exchange.Error{Op: exchange.OpDial, Err: err}
		if errors.As(err, new(*exchange.Error)) { // of the address, or of the Dialer before this one
			return nil, err
		}
		if d.Proxy != nil {
			e.Backend = d.Proxy.Scheme + "://" + d.Proxy.Host
		}
		return nil, e
	}
	return c, nil
}

// Dial is DialContext without a context.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

func (d *Dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := access.ParseAuthority(address)
	if err != nil {
		return nil, err
	}
	address = net.JoinHostPort(host, fmt.Sprint(port))
	if timeout := cmp.Or(d.Timeout, DefaultDialTimeout); timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	request, err := d.request(ctx, address)
	if err != nil {
		return nil, err
	}
	c, err := d.DialProxy(ctx, network, "")
	if err != nil {
		return nil, err
	}
	end := func() { _ = c.SetDeadline(time.Unix(1, 0)) }
	stop := context.AfterFunc(ctx, end)
	var body *time.Timer
	made, err := handshake(c, request, func() { body = time.AfterFunc(bodyTime(ctx), end) })
	if body != nil {
		body.Stop()
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = c.Close()
		if ctx.Err() != nil && !errors.As(err, new(*RefusedError)) {
			err = ctx.Err()
		}
		return nil, err
	}
	return made, nil
}

// bodyTime is how long the body of a refusal may take: 5 s, or half of the time
// that is left, so that the status is not lost with the rest of it.
func bodyTime(ctx context.Context) time.Duration {
	d := 5 * time.Second
	if deadline, limited := ctx.Deadline(); limited {
		d = min(d, time.Until(deadline)/2)
	}
	return d
}

// hasParent reports whether Proxy names one.
func (d *Dialer) hasParent() bool {
	return d != nil && d.Proxy != nil && d.Proxy.Hostname() != "" && (d.Proxy.Scheme == "http" || d.Proxy.Scheme == "https")
}

// DialProxy connects to the parent itself, whatever the address: for a backend
// whose requests the parent is to answer. See [Transport].Plain.
func (d *Dialer) DialProxy(ctx context.Context, network, _ string) (net.Conn, error) {
	if !d.hasParent() {
		return nil, errNoParent
	}
	port := d.Proxy.Port()
	if port == "" {
		port = backend.DefaultPort(d.Proxy.Scheme)
	}
	dial := d.DialParent
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	address := net.JoinHostPort(d.Proxy.Hostname(), port)
	c, err := dialWithin(ctx, func(ctx context.Context) (net.Conn, error) { return dial(ctx, network, address) })
	if err != nil || d.Proxy.Scheme == "http" {
		return c, err
	}
	tc := tls.Client(c, d.tlsConfig())
	if err := backend.Handshake(ctx, tc); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("TLS handshake with the parent proxy: %w", err)
	}
	return tc, nil
}

// dialWithin dials by a function that may not look at its context.
func dialWithin(ctx context.Context, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
	return backend.Within(ctx, func(ctx context.Context) (net.Conn, error) { return backend.Dialled(dial(ctx)) },
		func(late net.Conn) { _ = late.Close() })
}

// tlsConfig completes the TLS field without changing it.
func (d *Dialer) tlsConfig() *tls.Config {
	config := d.TLS.Clone()
	if config == nil {
		config = &tls.Config{}
	}
	if config.ServerName == "" {
		config.ServerName = d.Proxy.Hostname()
	}
	config.NextProtos = []string{"http/1.1"}
	return config
}

// handshake asks for the tunnel, and returns the connection behind the answer.
// It calls refused when only the body of a refusal is missing.
func handshake(c net.Conn, request []byte, refused func()) (net.Conn, error) {
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	r := bufio.NewReader(c)
	if err := readAnswer(r, maxAnswer, refused); err != nil {
		return nil, err
	}
	if n := r.Buffered(); n > 0 { // the destination spoke first
		early, _ := r.Peek(n)
		return &earlyConn{Conn: c, early: early}, nil
	}
	return c, nil
}

// FromURL makes a Dialer for golang.org/x/net/proxy, whose RegisterDialerType
// it fits. forward connects to the parent.
func FromURL(u *url.URL, forward netproxy.Dialer) (netproxy.Dialer, error) {
	d := &Dialer{Proxy: u}
	switch f := forward.(type) {
	case nil:
	case netproxy.ContextDialer:
		d.DialParent = f.DialContext
	default:
		d.DialParent = func(_ context.Context, network, address string) (net.Conn, error) { return f.Dial(network, address) }
	}
	return d, nil
}

var (
	_ netproxy.Dialer        = (*Dialer)(nil)
	_ netproxy.ContextDialer = (*Dialer)(nil)
)
