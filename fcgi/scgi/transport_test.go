package scgi

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestVariables: what the application is told, by where it is mounted.
func TestVariables(t *testing.T) {
	for _, tc := range []struct{ prefix, target, ask, name, info string }{
		{"/", "/", "/", "", "/"},
		{"/", "/", "/a%20b/c?q=1", "", "/a b/c"},
		{"/", "/", "/x/../y//z", "", "/y/z"},
		{"/u/", "/", "/u/x", "/u", "/x"},
		{"/u/", "/", "/u/", "/u/", "/"},
		{"/u", "", "/u/x/", "/u", "/x/"},
		{"/u", "", "/u", "/u", "/"},
		{"/u", "/u", "/u/x", "", "/u/x"},
		{"/u/", "/x/y/", "/u/z", "", "/x/y/z"},
	} {
		t.Run(tc.prefix+" "+tc.target+" "+tc.ask, func(t *testing.T) {
			var env map[string]string
			tr := peer(t, func(c net.Conn, got map[string]string) {
				env = got
				_, _ = io.WriteString(c, "Status: 200 OK\r\n\r\nbody")
			})
			tr.Env = func(_ *http.Request, p *fcgi.Params) { p.Set("OWN", p.Get("SCRIPT_NAME")) }
			h := &proxy.Handler{Prefix: tc.prefix, Target: &url.URL{Scheme: "scgi", Host: "app", Path: tc.target}, Transport: tr, Forwarded: proxy.ForwardedOff}
			r := httptest.NewRequest("GET", "http://front.test:8080"+tc.ask, nil)
			r.Header = http.Header{"X-One": {"1"}, "Authorization": {"Basic x"}, "Proxy": {"no"}, "X_two": {"no"}, "Cookie": {"a=1", "b=2"}}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r.WithContext(fcgi.WithVariables(r.Context(), map[string]string{"REMOTE_USER": "me"})))
			require.Equal(t, "body", w.Body.String())
			_, query, _ := strings.Cut(tc.ask, "?")
			require.Equal(t, map[string]string{
				"SCRIPT_NAME": tc.name, "PATH_INFO": tc.info, "SCRIPT_FILENAME": "proxy:scgi://app" + tc.info, "OWN": tc.name, "SCGI": "1", "CONTENT_LENGTH": "0", "REMOTE_USER": "me",
				"GATEWAY_INTERFACE": "CGI/1.1", "SERVER_SOFTWARE": "modproxy", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": "front.test", "SERVER_PORT": "8080", "REQUEST_SCHEME": "http",
				"REQUEST_METHOD": "GET", "REQUEST_URI": tc.ask, "QUERY_STRING": query, "REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "1234",
				"HTTP_HOST": "front.test:8080", "HTTP_X_ONE": "1", "HTTP_AUTHORIZATION": "Basic x", "HTTP_COOKIE": "a=1; b=2",
			}, env)
		})
	}
}

// TestAnswers: what becomes of an answer. Without a body wanted, the request fails.
func TestAnswers(t *testing.T) {
	for answer, want := range map[string]string{
		"Status: 200 OK\r\nA: b\r\n\r\nbody":                   "200 OK A=b body",
		"A: b\n\nbody":                                         "200 OK A=b body",
		"Status: 404\r\nA: b\r\n\r\nbody":                      "404 Not Found A=b body",
		"Location: /x\r\nA: 1\r\n\r\n":                         "302 Found A=1 ",
		"Status: 200 OK\r\nLocation: /x\r\nA: 1\r\n\r\n":       "200 OK A=1 ",
		"Content-Length: 2\r\n\r\nbody":                        "200 OK A= bo",
		"A: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n": "200 OK A=1 1\r\nx\r\n",
		"Status: 304 Not Modified\r\nA: b\r\n\r\nbody":         "304 Not Modified A=b ",
		"Content-Length: 8\r\n\r\nbody":                        "200 OK A= body: body 502",
		"Content-Length: 1\r\nContent-Length: 2\r\n\r\nbody":   "header 502",
		"A: b":                               "header 502",
		"Status: 103\r\n\r\n":                "header 502",
		"Status: 200\r\nStatus: 201\r\n\r\n": "header 502",
		"HTTP/1.1 200 OK\r\n\r\nbody":        "header 502",
		"":                                   "header 502",
		"A: " + strings.Repeat("x", 17<<10) + "\r\n\r\n": "header 502",
	} {
		t.Run(answer[:min(60, len(answer))], func(t *testing.T) {
			tr := peer(t, func(c net.Conn, _ map[string]string) { _, _ = io.WriteString(c, answer) })
			r := httptest.NewRequest("POST", "scgi://app/x", nil)
			require.Equal(t, want, outcome(tr, r))
		})
	}
}

// TestKeepStatus: who serves local redirections can tell them.
func TestKeepStatus(t *testing.T) {
	for answer, want := range map[string]string{
		"Location: /x\r\nA: 1\r\n\r\n":                      "200 OK A=1 ",
		"Location: http://h/\r\nA: 1\r\n\r\n":               "200 OK A=1 ",
		"Status: 302 Found\r\nLocation: /x\r\nA: 1\r\n\r\n": "302 Found A=1 ",
	} {
		tr := peer(t, func(c net.Conn, _ map[string]string) { _, _ = io.WriteString(c, answer) })
		tr.KeepStatus = true
		require.Equal(t, want, outcome(tr, httptest.NewRequest("GET", "scgi://app/x", nil)), answer)
	}
}

// outcome is that of a request in words.
func outcome(tr http.RoundTripper, r *http.Request) string {
	resp, err := tr.RoundTrip(r)
	if err != nil {
		return failure(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	text := resp.Status + " A=" + resp.Header.Get("A") + " " + string(body)
	if err != nil {
		text += ": " + failure(err)
	}
	return text
}

func failure(err error) string {
	e, ok := err.(*exchange.Error)
	if !ok {
		return "no *exchange.Error: " + err.Error()
	}
	return string(e.Op) + " " + strconv.Itoa(exchange.StatusOf(err))
}

// TestRefused: what no application is sent.
func TestRefused(t *testing.T) {
	request := func(edit func(r *http.Request)) *http.Request {
		r := httptest.NewRequest("GET", "scgi://app/x", nil)
		edit(r)
		return r
	}
	for name, tc := range map[string]struct {
		r      *http.Request
		status string
	}{
		"control bytes": {request(func(r *http.Request) { r.URL.Path = "/a\nb" }), "request 400"},
		"dot segments":  {request(func(r *http.Request) { r.URL.Path = "/a/../b" }), "request 400"},
		"no slash":      {request(func(r *http.Request) { r.URL.Path = "a" }), "request 400"},
		"Host":          {request(func(r *http.Request) { r.Host = "a b" }), "request 400"},
		"a field":       {request(func(r *http.Request) { r.Header["X"] = []string{"a\nb"} }), "request 400"},
		"scheme":        {request(func(r *http.Request) { r.URL.Scheme = "http" }), "request 500"},
		"variable": {request(func(r *http.Request) {
			*r = *r.WithContext(fcgi.WithVariables(r.Context(), map[string]string{"A": "b\x00"}))
		}), "request 500"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := peer(t, func(net.Conn, map[string]string) { t.Error("the application was asked") })
			require.Equal(t, tc.status, outcome(tr, tc.r))
			require.Zero(t, tr.Stats()[0].Created)
		})
	}
}

// TestNUL: no variable ends another, whoever has set it.
func TestNUL(t *testing.T) {
	for name, value := range map[string]string{"A": "b\x00c", "A\x00B": "c"} {
		tr := peer(t, func(net.Conn, map[string]string) { t.Error("the application was asked") })
		tr.Env = func(_ *http.Request, p *fcgi.Params) { p.Set(name, value) }
		require.Equal(t, "request 500", outcome(tr, httptest.NewRequest("GET", "scgi://app/x", nil)))
	}
}
