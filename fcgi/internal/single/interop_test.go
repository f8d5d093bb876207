package single_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/fcgi/scgi"
	"github.com/modproxy/modproxy/fcgi/uwsgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// app is a WSGI application that tells what it has got.
const app = `
def application(env, start):
    body = env['wsgi.input'].read(int(env.get('CONTENT_LENGTH') or 0))
    start('201 Created' if env['PATH_INFO'] == '/made' else '200 OK', [('Content-Type', 'text/plain'), ('X-Mount', env['SCRIPT_NAME'])])
    if env['PATH_INFO'] == '/large':
        return [b'x' * 100000 for i in range(30)]
    return [('%s %s %s %s %s %d' % (env['REQUEST_METHOD'], env['PATH_INFO'], env['QUERY_STRING'], env.get('HTTP_X_ONE'), env['wsgi.url_scheme'], len(body))).encode()]
`

// protocol is one that uWSGI speaks, with the transport for it.
type protocol struct {
	scheme, option string // as uWSGI calls it; "" for its own
	transport      func(b *backend.Backend) http.RoundTripper
}

var protocols = []protocol{
	{"uwsgi", "", func(b *backend.Backend) http.RoundTripper { return &uwsgi.Transport{Backend: b} }},
	{"scgi", "scgi", func(b *backend.Backend) http.RoundTripper { return &scgi.Transport{Backend: b} }},
}

// TestUWSGI asks an application in uWSGI, over TCP and a socket of the file system.
func TestUWSGI(t *testing.T) {
	for _, one := range protocols {
		t.Run(one.scheme, func(t *testing.T) {
			for _, unix := range []bool{false, true} {
				p := programs.UWSGI(t, programs.UWSGIOptions{Protocol: one.option, Unix: unix, App: app})
				target := one.scheme + "://" + p.Addr
				if unix {
					target = "unix:" + p.Addr + "|" + one.scheme + "://app/"
				}
				b, err := backend.Parse(target)
				require.NoError(t, err)
				defer b.Close()
				s := httptest.NewServer(&proxy.Handler{Prefix: "/shop/", Target: &url.URL{Scheme: one.scheme, Host: "app", Path: "/"}, Transport: one.transport(b)})
				defer s.Close()
				defer http.DefaultClient.CloseIdleConnections()
				ask := func(method, path string, body io.Reader) (int, string, string) {
					r, err := http.NewRequest(method, s.URL+path, body)
					require.NoError(t, err)
					r.Header.Set("X-One", "1")
					resp, err := http.DefaultClient.Do(r)
					require.NoError(t, err)
					defer resp.Body.Close()
					text, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					return resp.StatusCode, resp.Header.Get("X-Mount"), string(text)
				}
				status, mount, text := ask("GET", "/shop/a%20b?q=1", nil)
				require.Equal(t, []any{200, "/shop", "GET /a b q=1 1 http 0"}, []any{status, mount, text})
				status, _, text = ask("POST", "/shop/made", strings.NewReader("abc"))
				require.Equal(t, []any{201, "POST /made  1 http 3"}, []any{status, text})
				for _, size := range []int{100_000, 3_000_000} {
					want := fmt.Sprintf("PUT /x  1 http %d", size)
					_, _, text = ask("PUT", "/shop/x", bytes.NewReader(make([]byte, size)))
					require.Equal(t, want, text)
					_, _, text = ask("PUT", "/shop/x", io.MultiReader(bytes.NewReader(make([]byte, size))))
					require.Equal(t, want, text, "chunked")
				}
				_, _, text = ask("GET", "/shop/large", nil)
				require.Len(t, text, 3_000_000)
				status, _, text = ask("HEAD", "/shop/x", nil)
				require.Equal(t, []any{200, ""}, []any{status, text})
			}
		})
	}
}

// TestMembers: where one application is gone, another one answers.
func TestMembers(t *testing.T) {
	for _, one := range protocols {
		t.Run(one.scheme, func(t *testing.T) {
			p := programs.UWSGI(t, programs.UWSGIOptions{Protocol: one.option, App: app})
			var members []balancer.MemberConfig
			for _, addr := range []string{programs.FreeAddr(t), p.Addr} {
				b, err := backend.Parse(one.scheme + "://" + addr)
				require.NoError(t, err)
				defer b.Close()
				members = append(members, balancer.MemberConfig{URL: one.scheme + "://" + addr, RoundTripper: one.transport(b), Backend: b})
			}
			b, err := balancer.New(balancer.Config{Name: "apps"}, members...)
			require.NoError(t, err)
			defer b.Close()
			for range 4 {
				resp, err := b.RoundTrip(httptest.NewRequest("GET", "balancer://apps/x", nil))
				require.NoError(t, err)
				text, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, "GET /x  None http 0", string(text))
				_ = resp.Body.Close()
			}
		})
	}
}
