package zerovalues

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/proxy/backend"
)

// body is that of a request; it must be closed.
type body struct {
	io.Reader
	closed atomic.Bool
}

func (b *body) Close() error {
	b.closed.Store(true)
	return nil
}

// arguments makes what a function is called with.
type arguments struct {
	ctx   context.Context
	t     *testing.T
	small bool   // else all is as zero as it may be
	url   string // of requests
	body  *body  // of the last request, if it has one
	w     *httptest.ResponseRecorder
}

var errStub = errors.New("stub")

// closedListener has nobody to accept.
type closedListener struct{}

func (closedListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (closedListener) Close() error              { return nil }
func (closedListener) Addr() net.Addr            { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// stubTransport fails, as it may, with an error of its own.
type stubTransport struct{}

func (stubTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
	return nil, errStub
}

func (a *arguments) request() *http.Request {
	method := http.MethodGet
	a.body = nil
	if a.small {
		method = http.MethodPost
	}
	if strings.HasPrefix(a.url, "CONNECT ") {
		return httptest.NewRequest("CONNECT", a.url[len("CONNECT "):], nil).WithContext(a.ctx)
	}
	r := httptest.NewRequest(method, a.url, nil).WithContext(a.ctx)
	if a.small {
		a.body = &body{Reader: strings.NewReader("x")}
		r.Body, r.ContentLength = a.body, 1
		r.Header.Set("Authorization", "Basic dTpw")
		r.Header.Set("Proxy-Authorization", "Basic dTpw")
	}
	return r
}

// conn returns a connection whose other end is closed.
func (a *arguments) conn() *backend.Conn {
	b := &backend.Backend{URL: &url.URL{Scheme: "http", Host: "h"}, DialContext: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		_ = there.Close()
		return here, nil
	}}
	c, err := b.Get(a.ctx)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// of returns an argument of a type.
func (a *arguments) of(t reflect.Type) reflect.Value {
	var v any
	switch t {
	case reflect.TypeFor[context.Context]():
		v = a.ctx
	case reflect.TypeFor[*testing.T](), reflect.TypeFor[testing.TB]():
		v = a.t
	case reflect.TypeFor[http.ResponseWriter]():
		a.w = httptest.NewRecorder()
		v = a.w
	case reflect.TypeFor[*http.Request]():
		v = a.request()
	case reflect.TypeFor[*http.Response]():
		r := a.request()
		v = &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}
	case reflect.TypeFor[http.Handler]():
		v = http.NotFoundHandler()
	case reflect.TypeFor[http.RoundTripper]():
		v = stubTransport{}
	case reflect.TypeFor[net.Listener]():
		v = closedListener{}
	case reflect.TypeFor[net.Conn]():
		here, there := net.Pipe()
		_ = there.Close()
		v = here
	case reflect.TypeFor[*tls.Conn]():
		v = tls.Client(a.conn().Conn, &tls.Config{ServerName: "h"})
	case reflect.TypeFor[*backend.Conn]():
		v = a.conn()
	case reflect.TypeFor[*balancer.Member]():
		m, err := balancer.NewMember(balancer.MemberConfig{URL: "http://127.0.0.1:1"})
		if err != nil {
			a.t.Fatal(err)
		}
		v = m
	case reflect.TypeFor[io.Reader]():
		v = strings.NewReader("")
	case reflect.TypeFor[io.Writer]():
		v = io.Discard
	case reflect.TypeFor[*bufio.Reader]():
		v = bufio.NewReader(new(bytes.Buffer))
	case reflect.TypeFor[error]():
		v = errStub
	case reflect.TypeFor[*url.URL]():
		if !a.small {
			return reflect.Zero(t)
		}
		v = &url.URL{Scheme: "http", Host: "127.0.0.1:1", Path: "/"}
	case reflect.TypeFor[netip.Addr]():
		if a.small {
			v = netip.IPv6Loopback()
		} else {
			v = netip.Addr{}
		}
	case reflect.TypeFor[*regexp.Regexp]():
		v = regexp.MustCompile("x")
	case reflect.TypeFor[*slog.Logger]():
		v = slog.New(slog.DiscardHandler)
	case reflect.TypeFor[time.Time]():
		v = time.Now()
	default:
		return a.byKind(t)
	}
	return reflect.ValueOf(v)
}

func (a *arguments) byKind(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.Func:
		return reflect.MakeFunc(t, func([]reflect.Value) []reflect.Value {
			out := make([]reflect.Value, t.NumOut())
			for i := range out {
				switch out[i] = reflect.Zero(t.Out(i)); t.Out(i) {
				case reflect.TypeFor[error]():
					out[i] = reflect.ValueOf(&errStub).Elem()
				case reflect.TypeFor[context.Context]():
					out[i] = reflect.ValueOf(&a.ctx).Elem()
				}
			}
			return out
		})
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.Struct {
			v.Set(reflect.New(t.Elem()))
		}
	}
	if !a.small {
		return v
	}
	switch t.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.String:
		v.SetString("/x")
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("x"))
		} else {
			v.Set(reflect.Append(v, a.of(t.Elem())))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
	}
	return v
}
