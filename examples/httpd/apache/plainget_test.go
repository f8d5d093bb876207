package apache

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/tunnel"
)

// plainSites are configurations as most are, and what a GET of them may allocate,
// the request, the visit and the answer of the backend included.
var plainSites = map[string]struct {
	text   string
	allocs float64
}{
	"one rule":     {"ProxyPass / http://127.0.0.1:1/\nProxyPassReverse / http://127.0.0.1:1/\n", 18},
	"virtual host": {"<VirtualHost *:80>\nServerName front.test\nProxyPass / http://127.0.0.1:1/\nProxyPassReverse / http://127.0.0.1:1/\n</VirtualHost>\n", 18},
	"sections": {"<VirtualHost *:80>\nServerName front.test\n<Location /a>\nRequire all granted\n</Location>\n<Proxy *>\nRequire all granted\n</Proxy>\n" +
		"RequestHeader set X-A b\nHeader set X-B c\nProxyPass / http://127.0.0.1:1/\nProxyPassReverse / http://127.0.0.1:1/\n</VirtualHost>\n", 29},
}

// plainGET returns what sends a GET through a site to a backend that costs little.
func plainGET(t testing.TB, text string) func() {
	b, _, err := read("Listen 80\n" + text)
	require.NoError(t, err)
	g, err := newGeneration(b, &logFiles{stdout: io.Discard, stderr: io.Discard}, new(tunnel.Registry), nil)
	require.NoError(t, err)
	t.Cleanup(g.close)
	for _, h := range g.hosts {
		for r := range h.routes {
			h.routes[r] = instant{}
		}
	}
	in := httptest.NewRequest("GET", "http://front.test/a/b?c=d", nil)
	w := &sink{make(http.Header)}
	return func() {
		clear(w.h)
		r := in.WithContext(context.WithValue(in.Context(), visitKey{}, &visit{site: g}))
		g.host("80", r).serve.ServeHTTP(w, r)
	}
}

// instant answers at once.
type instant struct{}

func (instant) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"text/plain"}, "Content-Length": {"2"}},
		ContentLength: 2, Body: io.NopCloser(strings.NewReader("ok")), Request: r}, nil
}

// sink takes an answer.
type sink struct{ h http.Header }

func (w *sink) Header() http.Header         { return w.h }
func (w *sink) Write(b []byte) (int, error) { return len(b), nil }
func (w *sink) WriteHeader(int)             {}

// TestPlainGETAllocatesLittle: the phases of a request cost a site nothing that it
// does not use.
func TestPlainGETAllocatesLittle(t *testing.T) {
	for name, site := range plainSites {
		require.LessOrEqual(t, testing.AllocsPerRun(200, plainGET(t, site.text)), site.allocs, name)
	}
}

func BenchmarkPlainGET(b *testing.B) {
	for name, site := range plainSites {
		b.Run(name, func(b *testing.B) {
			get := plainGET(b, site.text)
			b.ReportAllocs()
			for b.Loop() {
				get()
			}
		})
	}
}
