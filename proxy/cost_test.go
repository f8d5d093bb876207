package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/parsertest"
)

// TestCost: nothing that a client or a backend sends costs more than its
// length. Each input goes through a whole Handler, or whatever reads it.
func TestCost(t *testing.T) {
	inputs := make(map[string]parsertest.Input)
	for name, in := range costsOfRequests() {
		inputs["request: "+name] = func(n int) func() {
			r := httptest.NewRequest("GET", "http://front.test/", nil)
			in.set(r, n)
			h := in.through
			if h == nil {
				h = hostileHandler(&http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody})
			}
			return func() { h.ServeHTTP(&nowhere{h: http.Header{}}, r) }
		}
	}
	for name, set := range costsOfAnswers {
		inputs["answer: "+name] = func(n int) func() {
			resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}
			r := httptest.NewRequest("GET", "http://front.test/", nil)
			set(resp, r, n)
			h := hostileHandler(resp)
			return func() { h.ServeHTTP(&nowhere{h: http.Header{}}, r) }
		}
	}
	for name, wire := range costsOfBytes {
		inputs["bytes: "+name] = func(n int) func() {
			answer := wire(n)
			h := hostileHandler(nil)
			h.Transport = scriptedTransport(t, func() net.Conn { return &scriptedConn{r: bytes.NewReader(answer)} })
			r := httptest.NewRequest("GET", "http://front.test/", nil)
			return func() {
				w := &nowhere{h: http.Header{}}
				h.ServeHTTP(w, r)
				require.Equal(t, 200, w.status)
			}
		}
	}
	parsertest.Linear(t, inputs)
}

// hostileHandler has every setting that has a loop, and answers with resp.
func hostileHandler(resp *http.Response) *Handler {
	h := &Handler{
		Target: &url.URL{Scheme: "http", Host: "back.test", Path: "/"}, Prefix: "/",
		ServerName: "front.test", Via: ViaFull, Forwarded: ForwardedAppend, ForwardedField: true, StrictQuery: true,
		AllowEncodedSlashes: true, Upgrades: []string{"*"}, MaxForwards: 9,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Abort:          func(http.ResponseWriter, *http.Request, error) {},
	}
	for i := range 20 {
		name := fmt.Sprintf("back%d.test", i)
		h.Reverse = append(h.Reverse, ReverseRule{Path: "/", URL: "http://" + name + "/"}, ReverseRule{Path: "/a", URL: "/" + name})
		h.CookieDomains = append(h.CookieDomains, CookieRule{Internal: name, Public: "front.test"})
		h.CookiePaths = append(h.CookiePaths, CookieRule{Internal: "/" + name, Public: "/"})
	}
	h.Transport = roundTripFunc(func(r *http.Request) (*http.Response, error) {
		out := *resp
		out.Header, out.Trailer, out.Request = resp.Header.Clone(), resp.Trailer.Clone(), r
		return &out, nil
	})
	return h
}

// costOfRequest is a request of n bytes, and what serves it: a hostileHandler
// if that is nil.
type costOfRequest struct {
	set     func(r *http.Request, n int)
	through http.Handler
}

func costsOfRequests() map[string]costOfRequest {
	list := map[string]costOfRequest{
		"rules of a Mux":           {path("//a%2f;b/..;c/."), hostileMux(MappingRaw)},
		"servlet rules":            {path("//a;b/..;c"), hostileMux(MappingServlet)},
		"a path of rules":          {path("/a"), hostileMux(MappingRaw)},
		"a path of rules, escaped": {path("/%61"), hostileMux(MappingRaw)},
		"a host for rules":         {func(r *http.Request, n int) { r.Host = strings.Repeat("a.", n/2) + "a" }, hostileMux(MappingRaw)},
		"a query for rules":        {func(r *http.Request, n int) { r.URL.RawQuery = strings.Repeat("q=a&", n/4) }, hostileMux(MappingRaw)},
		"fields for rules":         {func(r *http.Request, n int) { r.Host = "a.a.a"; values("Accept", "b")(r, n) }, hostileMux(MappingRaw)},
	}
	for name, text := range map[string]string{"slashes": "/", "dots": "/a/..", "bytes to escape": `/"`, "schemes": "://", "escapes": "/%41"} {
		list["forwarded, "+name] = costOfRequest{func(r *http.Request, n int) {
			path(text)(r, n)
			r.URL.Scheme, r.URL.Host = "http", "back.test"
			r.RequestURI = "http://back.test" + r.URL.RawPath
		}, hostileForward()}
	}
	for name, text := range map[string]string{"a host of dots": "a.", "a host of colons": ":", "a host of brackets": "["} {
		list["forwarded, "+name] = costOfRequest{func(r *http.Request, n int) {
			r.URL.Scheme, r.URL.Host = "http", strings.Repeat(text, n/len(text))
		}, hostileForward()}
	}
	for name, set := range map[string]func(r *http.Request, n int){
		"commas in Connection": func(r *http.Request, n int) {
			field("Connection", ",")(r, n/2)
			many(r.Header, n/2)
		},
		"blanks in Connection": func(r *http.Request, n int) {
			field("Connection", " \t")(r, n/2)
			many(r.Header, n/2)
		},
		"names in Connection": func(r *http.Request, n int) {
			many(r.Header, n/2)
			for name := range r.Header {
				r.Header.Add("Connection", strings.ToLower(name))
			}
			r.Header["Connection"] = []string{strings.Join(r.Header["Connection"], ",")}
		},
		"Connection many times": func(r *http.Request, n int) {
			values("Connection", "a")(r, n/2)
			many(r.Header, n/2)
		},
		"Upgrade":            func(r *http.Request, n int) { field("Connection", "upgrade,")(r, n/2); field("Upgrade", "a/")(r, n/2) },
		"X-Forwarded-For":    values("X-Forwarded-For", ","),
		"Forwarded":          values("Forwarded", `for="\",`),
		"Via":                field("Via", "1.1 a ( ,"),
		"Via, blanks":        field("Via", " \t,"),
		"TE":                 field("Te", "trailers;,"),
		"Expect":             field("Expect", "100,"),
		"Max-Forwards":       field("Max-Forwards", "0"),
		"host of colons":     func(r *http.Request, n int) { r.Host = strings.Repeat(`a:`, n/2) },
		"host of dots":       func(r *http.Request, n int) { r.Host = strings.Repeat(`a.`, n/2) },
		"host of escapes":    func(r *http.Request, n int) { r.Host = strings.Repeat(`%41`, n/3) },
		"query":              func(r *http.Request, n int) { r.URL.RawQuery = strings.Repeat("%41&=", n/5) },
		"slashes":            path("/"),
		"dots":               path("/."),
		"dots and names":     path("/a/.."),
		"dots behind names":  func(r *http.Request, n int) { path("/a")(r, n/2); r.URL.Path += strings.Repeat("/..", n/6) },
		"escaped dots":       path("/%2e%2E/%2e"),
		"escapes":            path("/%41%7e%c3"),
		"an escaped slash":   path("/%41/"),
		"parameters":         path("/;a;"),
		"bytes to escape":    path(`/"\`),
		"a long dot segment": path("%2e"),
	} {
		list[name] = costOfRequest{set: set}
		h := hostileHandler(&http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody})
		if h.Mapping = MappingServlet; strings.HasPrefix(name, "escape") {
			h.Mapping = MappingDecoded
		}
		list[name+", "+map[Mapping]string{MappingServlet: "servlet", MappingDecoded: "decoded"}[h.Mapping]] = costOfRequest{set, h}
	}
	return list
}

var costsOfAnswers = map[string]func(resp *http.Response, r *http.Request, n int){
	"commas in Connection": func(resp *http.Response, _ *http.Request, n int) {
		names(resp.Header, "Connection", ",", n/2)
		many(resp.Header, n/2)
	},
	"names in Connection, for the trailer": func(resp *http.Response, _ *http.Request, n int) {
		names(resp.Header, "Connection", "a1,b2,c3,", n)
		resp.Trailer = http.Header{}
		many(resp.Trailer, min(n/8, 900*len("X00000000")))
	},
	"Via": func(resp *http.Response, _ *http.Request, n int) { names(resp.Header, "Via", ",", n) },
	"Location": func(resp *http.Response, r *http.Request, n int) {
		// What the client sends is compared with what the backend does.
		r.Host = strings.Repeat("A", n/2)
		for range n / 16 {
			resp.Header.Add("Location", "http://x/")
		}
	},
	"Location with slashes": func(resp *http.Response, _ *http.Request, n int) { names(resp.Header, "Location", "/", n) },
	"Content-Location": func(resp *http.Response, _ *http.Request, n int) {
		names(resp.Header, "Content-Location", "a://b?#", n)
	},
	"attributes of a cookie": func(resp *http.Response, _ *http.Request, n int) {
		names(resp.Header, "Set-Cookie", "; path=/back9.test", n)
	},
	"semicolons of a cookie": func(resp *http.Response, _ *http.Request, n int) { names(resp.Header, "Set-Cookie", ";", n) },
	"cookies": func(resp *http.Response, _ *http.Request, n int) {
		for range n / 16 {
			resp.Header.Add("Set-Cookie", "a=b;domain=back9.test")
		}
	},
	"Content-Type": func(resp *http.Response, _ *http.Request, n int) {
		resp.Header.Set("Content-Type", "text/event-stream"+strings.Repeat(" ;", n/2))
	},
}

// costsOfBytes are answers as they come over a connection of HTTP/1.
var costsOfBytes = map[string]func(n int) []byte{
	"interim answers": func(n int) []byte { return answerOf(strings.Repeat("HTTP/1.1 103 \r\n\r\n", n/17), "", "") },
	"fields":          func(n int) []byte { return answerOf("", fieldsOf(n), "") },
	"one field":       func(n int) []byte { return answerOf("", strings.Repeat("A:\r\n", n/4), "") },
	"folded lines":    func(n int) []byte { return answerOf("", "A: b\r\n"+strings.Repeat(" c\r\n", n/4), "") },
	"blank folded":    func(n int) []byte { return answerOf("", "A: b\r\n"+strings.Repeat(" \r\n", n/3), "") },
	"Keep-Alive":      func(n int) []byte { return answerOf("", "Keep-Alive: "+strings.Repeat("a=,", n/3)+"\r\n", "") },
	"lengths":         func(n int) []byte { return answerOf("", "Content-Length: 0"+strings.Repeat(",0", n/2)+"\r\n", "") },
	"Trailer": func(n int) []byte {
		return answerOf("", "Transfer-Encoding: chunked\r\nTrailer: "+strings.Repeat("a,", n/2)+"\r\n", "0\r\n\r\n")
	},
	"chunks": func(n int) []byte {
		return answerOf("", "Transfer-Encoding: chunked\r\n", strings.Repeat("1\r\nx\r\n", n/6)+"0\r\n\r\n")
	},
	"extensions": func(n int) []byte {
		return answerOf("", "Transfer-Encoding: chunked\r\n", strings.Repeat("1"+strings.Repeat(";a", 50)+"\r\nx\r\n", n/106)+"0\r\n\r\n")
	},
	"trailer": func(n int) []byte {
		return answerOf("", "Transfer-Encoding: chunked\r\n", "0\r\n"+strings.Repeat("A: b\r\n", n/6)+"\r\n")
	},
	"folded trailer": func(n int) []byte {
		return answerOf("", "Transfer-Encoding: chunked\r\n", "0\r\nA: b\r\n"+strings.Repeat(" c\r\n", n/4)+"\r\n")
	},
}

// answerOf puts an answer together. Without a body there is none.
func answerOf(before, fields, body string) []byte {
	if body == "" && !strings.Contains(fields, "Content-Length") {
		fields = "Content-Length: 0\r\n" + fields
	}
	return []byte(before + "HTTP/1.1 200 OK\r\n" + fields + "\r\n" + body)
}

func fieldsOf(n int) string {
	var b strings.Builder
	for i := range n / 12 {
		fmt.Fprintf(&b, "X%07d:\r\n", i)
	}
	return b.String()
}

// many sets as many fields as fit n bytes.
func many(h http.Header, n int) {
	for i := range n / len("X00000000") {
		h[fmt.Sprintf("X%08d", i)] = []string{""}
	}
}

// names sets a field to n bytes of a text.
func names(h http.Header, name, text string, n int) {
	h[name] = []string{strings.Repeat(text, n/len(text))}
}

func field(name, text string) func(r *http.Request, n int) {
	return func(r *http.Request, n int) { names(r.Header, name, text, n) }
}

func values(name, text string) func(r *http.Request, n int) {
	return func(r *http.Request, n int) {
		r.Header[name] = strings.Split(strings.Repeat(text+"\n", n/(len(text)+1)), "\n")
	}
}

// path makes a path of a text that may be escaped.
func path(text string) func(r *http.Request, n int) {
	return func(r *http.Request, n int) {
		raw := "/" + strings.Repeat(text, n/len(text))
		decoded, err := url.PathUnescape(raw)
		if err != nil {
			panic(err)
		}
		r.URL.Path, r.URL.RawPath = decoded, raw
	}
}

func hostileMux(mapping Mapping) http.Handler {
	m := &Mux{Mapping: mapping, AllowEncodedSlashes: true}
	for i := range 20 {
		m.Add(Rule{Methods: []string{"POST"}, Hosts: []string{"*." + strings.Repeat("a.", i+1) + "a"}, Header: []Condition{{Name: "Accept", Values: []string{"a"}}}})
		m.Add(Rule{Path: strings.Repeat("/a", i), Query: []Condition{{Name: "q", Match: regexp.MustCompile("(a|b)*c$|q{60}")}, {Name: "r"}}})
		m.ExceptMatch(regexp.MustCompile(strings.Repeat("^/a", i) + "b$"))
		m.Except(fmt.Sprintf("/a/%d", i))
		// Too long for the quicker of package regexp's engines, which is for short text alone.
		m.ExceptMatch(regexp.MustCompile(fmt.Sprintf("(a|b)*(a/b)+c%d$|q{60}", i)))
	}
	return m
}

func hostileForward() http.Handler {
	f := &Forward{
		Clients: &access.Clients{Access: &access.Access{}}, Destinations: &access.Destinations{AllowPrivate: true, DenyHosts: []string{".a.a"}, Block: []string{"aab"}},
		Remotes: []access.Remote{{Pattern: regexp.MustCompile("(a|/)*c$|q{60}"), Transport: roundTripFunc(nil)}, {Match: "http://front.test/", Transport: roundTripFunc(nil)}},
		NoProxy: []string{"a.test", ".b.test"},
	}
	answer := roundTripFunc(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: asWritten(r)}, nil
	})
	f.Transports = map[string]http.RoundTripper{"http": answer}
	return f
}

// nowhere is a ResponseWriter that keeps nothing but the status.
type nowhere struct {
	h      http.Header
	status int
}

func (w *nowhere) Header() http.Header         { return w.h }
func (w *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (w *nowhere) WriteHeader(status int)      { w.status = status }

// scriptedTransport speaks HTTP/1 over connections that are made for each
// request.
func scriptedTransport(t *testing.T, dial func() net.Conn) *Transport {
	b := &backend.Backend{
		URL: &url.URL{Scheme: "http", Host: "back.test"}, DisableReuse: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return dial(), nil },
	}
	t.Cleanup(func() { _ = b.Close() })
	const most = 1 << 30
	return &Transport{Backend: b, MaxInterim: most, MaxHeadBytes: most, MaxLineBytes: most}
}

// scriptedConn is a connection whose other side has sent all it has to say.
type scriptedConn struct {
	net.Conn // no other method is called
	r        io.Reader
}

func (c *scriptedConn) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c *scriptedConn) Write(p []byte) (int, error) { return len(p), nil }
func (c *scriptedConn) Close() error                { return nil }
func (c *scriptedConn) LocalAddr() net.Addr         { return &net.TCPAddr{} }
func (c *scriptedConn) RemoteAddr() net.Addr        { return &net.TCPAddr{} }

func (c *scriptedConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptedConn) SetWriteDeadline(time.Time) error { return nil }

// TestTrailersOfManyFields: for each field of a trailer net/http's HTTP/2 server
// looks through all of them, so there may not be many.
func TestTrailersOfManyFields(t *testing.T) {
	for name, tc := range map[string]struct {
		fields int
		late   bool // they come with the body's end
		status int
		cut    bool
	}{
		"as many as there may be": {maxTrailers, false, 200, false},
		"and as late":             {maxTrailers, true, 200, false},
		"one more":                {maxTrailers + 1, false, 502, false},
		"one more, late":          {maxTrailers + 1, true, 200, true},
	} {
		t.Run(name, func(t *testing.T) {
			all := http.Header{}
			many(all, tc.fields*len("X00000000"))
			resp := &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: -1}
			h := &Handler{Target: mustParse(t, "http://back.test/"), Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
				resp.Request = r
				return resp, nil
			})}
			resp.Body = io.NopCloser(strings.NewReader("body"))
			if resp.Trailer = all; tc.late {
				resp.Trailer = nil
				resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("body"), &lateTrailer{resp, all}))
			}
			s := httptest.NewUnstartedServer(h)
			s.EnableHTTP2 = true
			s.StartTLS()
			defer s.Close()
			got, err := s.Client().Get(s.URL)
			if err == nil {
				defer got.Body.Close()
				require.Equal(t, 2, got.ProtoMajor)
				require.Equal(t, tc.status, got.StatusCode)
				_, err = io.ReadAll(got.Body)
			}
			if tc.cut {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			if tc.status == 200 {
				require.Len(t, got.Trailer, tc.fields)
			}
		})
	}
}

// lateTrailer sets a trailer at the end of a body.
type lateTrailer struct {
	resp *http.Response
	all  http.Header
}

func (l *lateTrailer) Read([]byte) (int, error) {
	l.resp.Trailer = l.all
	return 0, io.EOF
}
