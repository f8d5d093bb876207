package scgi

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

// TestUWSGI asks an application in uWSGI, over TCP and a socket of the file system.
func TestUWSGI(t *testing.T) {
	for _, unix := range []bool{false, true} {
		p := programs.UWSGI(t, programs.UWSGIOptions{Protocol: "scgi", Unix: unix, App: app})
		target := "scgi://" + p.Addr
		if unix {
			target = "unix:" + p.Addr + "|scgi://app/"
		}
		b, err := backend.Parse(target)
		require.NoError(t, err)
		defer b.Close()
		s := httptest.NewServer(&proxy.Handler{Prefix: "/shop/", Target: &url.URL{Scheme: "scgi", Host: "app", Path: "/"}, Transport: &Transport{Backend: b}})
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
}

// TestMembers: where one application is gone, another one answers.
func TestMembers(t *testing.T) {
	p := programs.UWSGI(t, programs.UWSGIOptions{Protocol: "scgi", App: app})
	var members []balancer.MemberConfig
	for _, addr := range []string{programs.FreeAddr(t), p.Addr} {
		b, err := backend.Parse("scgi://" + addr)
		require.NoError(t, err)
		defer b.Close()
		members = append(members, balancer.MemberConfig{URL: "scgi://" + addr, RoundTripper: &Transport{Backend: b}, Backend: b})
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
}
