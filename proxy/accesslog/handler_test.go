package accesslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// logOf serves one request through a Handler, a second and a half long, and
// returns the line.
func logOf(t *testing.T, format string, change func(r *http.Request, l *Handler), h http.HandlerFunc) (line string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l, err := New(&out, format)
		require.NoError(t, err)
		r := httptest.NewRequest("GET", "/a%20b?x=1", nil)
		r.RemoteAddr = "192.0.2.1:4321"
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80}))
		if change != nil {
			change(r, l)
		}
		func() {
			defer func() { _ = recover() }()
			l.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(1500 * time.Millisecond)
				h(w, r)
			})).ServeHTTP(httptest.NewRecorder(), r)
		}()
		line = out.String()
	})
	return line
}

func TestAccessLogLines(t *testing.T) {
	hello := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Out", "o")
		w.WriteHeader(201)
		_, _ = io.WriteString(w, "hello")
	}
	set := func(name, value string) func(r *http.Request, l *Handler) {
		return func(r *http.Request, l *Handler) { r.Header.Set(name, value) }
	}
	for name, tc := range map[string]struct {
		format string
		change func(r *http.Request, l *Handler)
		h      http.HandlerFunc
		want   string
	}{
		"common":      {CommonLogFormat, nil, hello, `192.0.2.1 - - [01/Jan/2000:00:00:00 +0000] "GET /a%20b?x=1 HTTP/1.1" 201 5`},
		"combined":    {CombinedLogFormat, set("User-Agent", `"><`+"\x01é"), hello, `192.0.2.1 - - [01/Jan/2000:00:00:00 +0000] "GET /a%20b?x=1 HTTP/1.1" 201 5 "-" "\"><\x01\xc3\xa9"`},
		"forged line": {`%{X}i`, set("X", "a\nb\r\t\\"), hello, `a\nb\r\t\\`},
		"parts":       {`%m %U %q %H %s %B`, nil, hello, `GET /a b ?x=1 HTTP/1.1 201 5`},
		"no body":     {`%b %B`, nil, func(http.ResponseWriter, *http.Request) {}, `- 0`},
		"durations":   {`%D %T %{ms}T %{us}T %{s}T`, nil, hello, `1500000 1 1500 1500000 1`},
		"times":       {`%{sec}t %{msec}t %{usec}t %{msec_frac}t %{usec_frac}t %{end:msec_frac}t %{begin:sec}t`, nil, hello, `946684800 946684800000 946684800000000 000 000000 500 946684800`},
		"strftime":    {`%{%Y-%m-%d %H:%M:%S %z}t`, nil, hello, `2000-01-01 00:00:00 +0000`},
		"more of strftime": {`%{%C %y %G %g %V %U %W %j %-d %_m %e %k %l %I %u %w %s %^a %D %r %c|%x|%X|%h %P %Ey %n%t%% %Q %}t`, nil, hello,
			"20 00 1999 99 52 00 00 001 1  1  1  0 12 12 6 6 946684800 SAT 01/01/00 12:00:00 AM Sat Jan  1 00:00:00 2000|01/01/00|00:00:00|Jan am 00 \n\t% %Q %"},
		"points alone": {`%{begin}t %{end}t %{end:}t`, nil, hello, `[01/Jan/2000:00:00:00 +0000] [01/Jan/2000:00:00:01 +0000] [01/Jan/2000:00:00:01 +0000]`},
		"no units":     {`%{x}T %{MS}T %{x}p %{x}P`, nil, hello, `x 1500 x x`},
		"any order":    {`%!200,!>{X-Out}201o %>{X-Out}!404o %{X-Out}<404o`, nil, hello, `o o -`},
		"both ways": {`%I %O %S`, func(r *http.Request, l *Handler) {
			r.Header.Set("A", "bc")
			r.Method, r.Body = "POST", io.NopCloser(strings.NewReader("body"))
		}, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			hello(w, r)
		}, "58 95 153"}, // "POST /a%20b?x=1 HTTP/1.1", "Host: example.com", "A: bc"; "HTTP/1.1 201 Created", "X-Out: o", Date, "Content-Length: 5"
		"first byte":   {`%^FB`, nil, hello, `-`},
		"empty field":  {`<%{A}i> <%{A}o> <%{B}i>`, func(r *http.Request, l *Handler) { r.Header.Set("A", "") }, func(w http.ResponseWriter, r *http.Request) { w.Header()["A"] = []string{"x", "y"} }, `<> <x, y> <->`},
		"content type": {`%{content-type}o`, nil, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Type", "text/html ; charset=x") }, `text/html`},
		"trailers": {`%{T}^ti %{U}^ti %{T}^to %{Late}^to %{Content-Type}^to`, func(r *http.Request, l *Handler) { r.Trailer = http.Header{"T": {"in"}} }, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X, T")
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, "x")
			w.Header().Set("T", "out")
			w.Header().Set(http.TrailerPrefix+"Late", "late")
		}, `in - out late -`},
		"cookies": {`%{A}C|%{b}C|%{c}C|%{d}C`, func(r *http.Request, l *Handler) {
			r.Header["Cookie"] = []string{`a="x y" ; b=; d`, "c=2; a=3"}
		}, hello, `\"x y\"|-|2|-`},
		"process":    {`%P %{pid}P %{tid}P %{hextid}P`, nil, hello, fmt.Sprintf("%[1]d %[1]d %[1]d %[1]x", os.Getpid())},
		"text in it": {`%{Monday %d %H:%M +0200}t`, nil, hello, `Monday 01 00:00 +0200`},
		"addresses":  {`%a %{c}a %A %p %{local}p %{remote}p`, nil, hello, `192.0.2.1 192.0.2.1 10.0.0.1 80 80 4321`},
		"fields": {`%{x-in}i %{X-Out}o %{Missing}i %{Host}i %{c}C`, func(r *http.Request, l *Handler) {
			r.Header.Set("X-In", "i")
			r.AddCookie(&http.Cookie{Name: "c", Value: "v"})
		}, hello, `i o - example.com v`},
		"host": {`%v %V`, func(r *http.Request, l *Handler) { r.Host = "h.test:81" }, hello, `h.test h.test`},
		"user and note": {`%u %{n}n %{e}e %{reused}n`, func(r *http.Request, l *Handler) {
			l.Lookup = func(_ *http.Request, d, n string) (string, bool) { return d + "<" + n + ">", n != "reused" }
		}, func(w http.ResponseWriter, r *http.Request) { access.WithUser(r, "me", "") }, `me n<n> e<e> 0`},
		"looked up": {`%{A}c %f %k %L %R %{A}x %v %V %p %{canonical}p %{local}p`, func(r *http.Request, l *Handler) {
			l.Lookup = func(_ *http.Request, d, n string) (string, bool) { return d + n, true }
		}, hello, `cA f k L R xA v V p pcanonical 80`},
		"nobody to look up": {`%{A}c %f %k %L %R %{A}x %{A}e`, nil, hello, `- - - - - - -`},
		"password":          {`%r`, func(r *http.Request, l *Handler) { r.RequestURI = "ftp://u:s3c:r%2Fet@h/a@b:c@d" }, hello, `GET ftp://u:XXXXXX@h/a@b:c@d HTTP/1.1`},
		"CONNECT": {`%r`, func(r *http.Request, l *Handler) {
			r.Method, r.RequestURI = "CONNECT", "u:s3cret@h:443"
		}, hello, `CONNECT u:XXXXXX@h:443 HTTP/1.1`},
		"user alone":  {`%r`, func(r *http.Request, l *Handler) { r.RequestURI = "ftp://u@h" }, hello, `GET ftp://u@h HTTP/1.1`},
		"a URL in it": {`%r`, func(r *http.Request, l *Handler) { r.RequestURI = "/x?http://u:p@h/" }, hello, `GET /x?http://u:p@h/ HTTP/1.1`},
		"conditions":  {`%201{X-In}i %200,404{X-In}i %!201{X-In}i %!200s`, set("X-In", "i"), hello, `i - - 201`},
		"text":        {`\"\t%%\\`, nil, hello, "\"\t%\\"},
		"kept":        {`%X`, nil, hello, `+`},
		"closed":      {`%X`, func(r *http.Request, l *Handler) { r.Close = true }, hello, `-`},
		"broke off":   {`%>s %X`, nil, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200); panic(http.ErrAbortHandler) }, `200 X`},
		"unix":        {`%h`, func(r *http.Request, l *Handler) { r.RemoteAddr = "@" }, hello, `-`},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.want+"\n", logOf(t, tc.format, tc.change, tc.h))
		})
	}
}

func TestLogFormatErrors(t *testing.T) {
	for _, format := range []string{"%", "%z", "%{x", "%>", "%^", "%^F", "%^xx", "%!", "%200", "%99999999999999999999s"} {
		_, err := ParseFormat(format)
		require.ErrorContains(t, err, "accesslog: ", format)
	}
}

func TestAccessLogZeroValue(t *testing.T) {
	require.Equal(t, 204, statusFrom(new(Handler).Wrap(okHandler), "1.1.1.1:1"))
	var out bytes.Buffer
	statusFrom((&Handler{Output: &out}).Wrap(okHandler), "1.1.1.1:1")
	require.True(t, strings.HasPrefix(out.String(), "1.1.1.1 - - ["), out.String())
}

func BenchmarkAccessLog(b *testing.B) {
	l, _ := New(io.Discard, CombinedLogFormat)
	h := l.Wrap(okHandler)
	r := httptest.NewRequest("GET", "/a?b", nil)
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

// TestLogOfTimes has all in microseconds.
func TestLogOfTimes(t *testing.T) {
	r := &exchange.Record{Acquire: 1500, Connect: 2500, Connected: 4000, FirstByte: 1e6, Reused: true, Member: "m", Err: errors.New("bad")}
	for name, want := range map[string]string{"acquire": "1", "connect": "2", "connected": "4", "first-byte": "1000", "reused": "1", "member": "m", "error": "bad"} {
		require.Equal(t, want, note(r, name), name)
	}
}

var okHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })

// statusFrom is what a client at remote gets of h.
func statusFrom(h http.Handler, remote string) int {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = remote
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}
