package ftpproxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/parsertest"
)

// TestCost: neither replies and listings of a server nor what a client asks for
// cost more than their length.
func TestCost(t *testing.T) {
	const (
		login   = "220 hello\x1e331 password\x1e230 in\x1e211-features\r\n MDTM\r\n211 end\x1e200 type\x1e"
		listing = login + "257 \"/\"\x1e250 there\x1e229 (|||7|)\x1e150 coming\r\n226 done"
		pattern = login + "550 no\x1e257 \"/\"\x1e550 no\x1e229 (|||7|)\x1e150 coming\r\n226 done"
		file    = login + "213 4\x1e213 20240102030405\x1e229 (|||7|)\x1e150 coming\r\n226 done"
	)
	inputs := make(map[string]parsertest.Input)
	serve := func(name string, request func(n int) (control, data string, r *http.Request)) {
		inputs[name] = func(n int) func() {
			control, data, r := request(n)
			return func() { converse(t, control, data, r) }
		}
	}
	// Replies are refused from 64 KiB on.
	for name, lines := range map[string]string{
		"empty lines": "\r\n", "lines": "a\r\n", "lines that look like an end": "220-\r\n", "quotes": "\"", "brackets": ")(",
	} {
		serve("greeting, "+name, func(n int) (string, string, *http.Request) {
			return "220-" + strings.Repeat(lines, n/2/len(lines)) + "\r\n220 x\x1e530 no", "", get("/")
		})
		serve("login, "+name, func(n int) (string, string, *http.Request) {
			return "220 x\x1e331 x\x1e230-" + strings.Repeat(lines, n/2/len(lines)) + "\r\n230 x" + listing[strings.Index(listing, "\x1e211"):], "", get("/")
		})
		serve("features, "+name, func(n int) (string, string, *http.Request) {
			return strings.Replace(listing, " MDTM", strings.Repeat(lines, n/2/len(lines)), 1), "", get("/")
		})
		serve("directory, "+name, func(n int) (string, string, *http.Request) {
			return strings.Replace(listing, "257 \"/\"", "257-"+strings.Repeat(lines, n/2/len(lines))+"\r\n257 \"/\"", 1), "", get("/d/")
		})
	}
	for name, lines := range map[string]string{
		"names": "-rw-r--r-- 1 u g 1 Jan 2 2024 x\r\n", "links": "lrwxrwxrwx 1 u g 3 Jan 2 2024 l -> t -> t\r\n", "empty": "\r\n", "blanks": "          1\r\n",
		"DOS": "01-02-24  03:04PM       <DIR>          d\r\n", "nothing": "total 1\r\n", "HTML": "-rw-r--r-- 1 u g 1 Jan 2 2024 <&<&<&<&\r\n",
		"a long name":    "-rw-r--r-- 1 u g 1 Jan 2 2024 " + strings.Repeat("<", 4000) + "\r\n",
		"a long line":    strings.Repeat(" ", 4000) + "\r\n",
		"many fields":    "-rw-r--r-- " + strings.Repeat("1 ", 2000) + "\r\n",
		"facts":          strings.Repeat("type=file;", 400) + " f\r\n",
		"slashes":        "-rw-r--r-- 1 u g 1 Jan 2 2024 " + strings.Repeat("/", 4000) + "\r\n",
		"dots in a name": "-rw-r--r-- 1 u g 1 Jan 2 2024 " + strings.Repeat(`..\`, 1000) + "\r\n",
	} {
		for _, accept := range []string{"text/html", "application/json"} {
			serve("LIST, "+name+", "+accept, func(n int) (string, string, *http.Request) {
				r := get("/d/")
				r.Header.Set("Accept", accept)
				return listing, strings.Repeat(lines, 4*n/len(lines)), r
			})
		}
		serve("MLSD, "+name, func(n int) (string, string, *http.Request) {
			return strings.Replace(listing, " MDTM", " MLST type*;", 1), strings.Repeat(lines, 4*n/len(lines)), get("/d/")
		})
	}
	for name, text := range map[string]func(n int) string{
		"a long pattern":      func(n int) string { return "*" + strings.Repeat("a", n/32) + "b" },
		"many stars":          func(n int) string { return strings.Repeat("*a", n/64) + "b" },
		"stars and questions": func(n int) string { return strings.Repeat("*?", n/64) + "b" },
		"braces":              func(n int) string { return strings.Repeat("{a,a}", 6) + strings.Repeat("{a}", n/96) + "b" },
		"short braces":        func(n int) string { return "*" + strings.Repeat("{a,a}", 6) + strings.Repeat("a", 200) + "b" },
		"open braces":         func(n int) string { return "*" + strings.Repeat("{a,", n/96) },
		"classes":             func(n int) string { return "*" + strings.Repeat("[a-z]", n/160) + "b" },
	} {
		serve("pattern, "+name, func(n int) (string, string, *http.Request) {
			return pattern, strings.Repeat("-rw-r--r-- 1 u g 1 Jan 2 2024 "+strings.Repeat("a", n/8)+"\r\n", 8), get("/" + url.PathEscape(text(n)))
		})
	}
	for name, field := range map[string][2]string{
		"If-None-Match": {"If-None-Match", `W/"a", `}, "If-Match": {"If-Match", `"a",`}, "quotes": {"If-None-Match", `"`}, "Range": {"Range", "bytes=0-0,"},
		"Range, digits": {"Range", "1"}, "If-Range": {"If-Range", `"`}, "Accept": {"Accept", "text/html;q=1;a=b,"}, "Accept, semicolons": {"Accept", ";"},
		"Accept, commas": {"Accept", ","}, "credentials": {"Authorization", "Basic "},
	} {
		serve("request, "+name, func(n int) (string, string, *http.Request) {
			r := get("/f")
			r.Header.Set(field[0], strings.Repeat(field[1], n/len(field[1])))
			return file, "data", r
		})
		serve("request for a directory, "+name, func(n int) (string, string, *http.Request) {
			r := get("/d/")
			r.Header.Set(field[0], strings.Repeat(field[1], n/len(field[1])))
			return listing, "", r
		})
	}
	for name, segment := range map[string]string{
		"slashes": "/", "segments": "/a", "dots": "/..a", "backslashes": `\a`, "escapes": "/%41", "semicolons": ";", "types": ";type=", "encoded slashes": "%2F",
	} {
		serve("path, "+name, func(n int) (string, string, *http.Request) {
			r := get("/")
			r.URL.RawPath = "/" + strings.Repeat(segment, n/len(segment))
			r.URL.Path, _ = url.PathUnescape(r.URL.RawPath)
			return listing, "", r
		})
	}
	parsertest.Linear(t, inputs)
}

func get(path string) *http.Request {
	u, err := url.Parse("ftp://server.test" + path)
	if err != nil {
		panic(err)
	}
	return &http.Request{Method: "GET", URL: u, Header: http.Header{}}
}

// converse has a server say its texts, and reads the answer to its end.
func converse(t *testing.T, control, data string, r *http.Request) {
	first := true
	b := &backend.Backend{URL: &url.URL{Scheme: "ftp", Host: "server.test"}, DialContext: func(context.Context, string, string) (net.Conn, error) {
		if first {
			first = false
			return newSaying(split(control)), nil
		}
		return newSaying([][]byte{[]byte(data)}), nil
	}}
	defer b.Close()
	resp, err := (&Transport{Backend: b}).RoundTrip(r)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, resp.Body.Close())
	}
	_ = err // the server says what it likes
}

func split(texts string) [][]byte {
	var list [][]byte
	for text := range strings.SplitSeq(texts, "\x1e") {
		list = append(list, []byte(text))
	}
	return list
}
