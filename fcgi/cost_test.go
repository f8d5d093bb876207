package fcgi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/parsertest"
)

// TestCost: neither what an application answers nor what a client asks for
// costs more than its length.
func TestCost(t *testing.T) {
	const head = "A: b\r\n\r\n"
	inputs := make(map[string]parsertest.Input)
	for name, answer := range map[string]func(n int) []byte{
		"records of one byte": func(n int) []byte { return join(stdout(head), pieces(typeStdout, "x", n), end(0, 0)) },
		"records of one byte, early": func(n int) []byte {
			return join(pieces(typeStdout, head, 16*len(head)), pieces(typeStdout, "x", n), end(0, 0))
		},
		"errors of one byte":     func(n int) []byte { return join(stdout(head+"x"), pieces(typeStderr, "x", n), stdout("y"), end(0, 0)) },
		"errors without content": func(n int) []byte { return join(stdout(head+"x"), pieces(typeStderr, "", n), stdout("y"), end(0, 0)) },
		"errors between": func(n int) []byte {
			return join(stdout(head), bytes.Repeat(join(stdout("x"), stderr("y"), stderr("")), n/40), end(0, 0))
		},
		"errors before a head": func(n int) []byte { return join(pieces(typeStderr, "x", n), stdout(head), end(0, 0)) },
		"lines of errors":      func(n int) []byte { return join(errorsOf("x\n", n/16), stdout(head), end(0, 0)) },
		"messages in a line":   func(n int) []byte { return join(errorsOf("; PHP message: ", n), stdout(head), end(0, 0)) },
		"management": func(n int) []byte {
			return join(stdout(head+"x"), bytes.Repeat(appendRecord(nil, 9, 0, nil), n/8), stdout("y"), end(0, 0))
		},
		"padding": func(n int) []byte { return join(stdout(head), padded(n), end(0, 0)) },
		"head in pieces": func(n int) []byte {
			return join(pieces(typeStdout, strings.Repeat("A: b\r\n", n/96)+"\r\n", n), end(0, 0))
		},
		"fields":           func(n int) []byte { return join(whole(manyFields(n)+"\r\n"), end(0, 0)) },
		"one field":        func(n int) []byte { return join(whole(strings.Repeat("A:\n", n/3)+"\r\n"), end(0, 0)) },
		"folded lines":     func(n int) []byte { return join(whole("A: b\r\n"+strings.Repeat(" c\n", n/3)+"\r\n"), end(0, 0)) },
		"carriage returns": func(n int) []byte { return join(whole("A: b"+strings.Repeat("\r", n)+"\n\r\n"), end(0, 0)) },
		"more than Content-Length": func(n int) []byte {
			return join(stdout("Content-Length: 1\r\n\r\n"), pieces(typeStdout, "x", n), end(0, 0))
		},
	} {
		inputs["answer, "+name] = func(n int) func() {
			tr := scriptedTransport(t, answer(4*n))
			r := httptest.NewRequest("GET", "fcgi://app.test/a.php", nil)
			return func() {
				resp, err := tr.RoundTrip(r)
				if err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			}
		}
	}
	inputs["variables of an authorizer"] = func(n int) func() {
		var fields strings.Builder
		r := httptest.NewRequest("GET", "http://front.test/a.php", nil)
		for i := range n / 10 {
			fmt.Fprintf(&fields, "Variable-A%07d:x\n", i)
			r.Header[fmt.Sprintf("X%08d", i)] = []string{"x"}
		}
		a := &Authorizer{URL: &url.URL{Scheme: "fcgi", Host: "app.test", Path: "/auth.php"}, Transport: scriptedTransport(t, join(whole(fields.String()+"\n"), end(0, 0)))}
		tr := scriptedTransport(t, join(stdout(head), end(0, 0)))
		h := a.Wrap(&proxy.Handler{Target: &url.URL{Scheme: "fcgi", Host: "app.test", Path: "/"}, Transport: tr})
		return func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, 200, w.Code)
		}
	}
	site := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(site, "d.php"), 0o700))
	h, err := NewHandler(site, "fcgi://app.test")
	require.NoError(t, err)
	h.Proxy.Transport = scriptedTransport(t, join(stdout(head), end(0, 0)))
	for name, text := range map[string]string{
		"scripts that are not there":  "/a.php",
		"a directory that looks like": "/d.php",
		"hidden segments":             "/.a.php",
		"dots":                        "/..",
		"dots and names":              "/a/..",
		"slashes":                     "/",
		"suffixes":                    ".php",
		"escaped slashes":             "/%2Fa.php",
	} {
		inputs["site, "+name] = func(n int) func() {
			r := httptest.NewRequest("GET", "http://front.test/", nil)
			raw := "/a" + strings.Repeat(text, n/len(text))
			r.URL.Path, r.URL.RawPath = strings.ReplaceAll(raw, "%2F", "/"), raw
			return func() { h.ServeHTTP(httptest.NewRecorder(), r) }
		}
		inputs["script, "+name] = func(n int) func() {
			tr := scriptedTransport(t, join(stdout(head), end(0, 0)))
			raw := "/a" + strings.Repeat(text, n/len(text))
			r := httptest.NewRequest("GET", "fcgi://app.test/", nil)
			r.URL.Path, r.URL.RawPath = strings.ReplaceAll(raw, "%2F", "/"), raw
			return func() {
				if resp, err := tr.RoundTrip(r); err == nil {
					_ = resp.Body.Close()
				}
			}
		}
	}
	inputs["values"] = func(n int) func() {
		content := bytes.Repeat([]byte{1, 0, 'a'}, n/3)
		return func() {
			_, err := parseValues(content)
			require.NoError(t, err)
		}
	}
	parsertest.Linear(t, inputs)
}

// pieces is a text, again and again, in records of one byte: n bytes of them.
func pieces(kind recordType, text string, n int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		one := ""
		if text != "" {
			one = text[i%len(text):][:1]
		}
		b = append(b, version, byte(kind), 0, requestID, 0, byte(len(one)), 0, 0)
		b = append(b, one...)
	}
	return b
}

// padded is n bytes of records with more padding than content.
func padded(n int) []byte {
	one := append([]byte{version, byte(typeStdout), 0, requestID, 0, 1, 255, 0, 'x'}, make([]byte, 255)...)
	return bytes.Repeat(one, n/len(one))
}

func whole(text string) []byte { return appendStream(nil, typeStdout, requestID, []byte(text)) }

func errorsOf(text string, n int) []byte {
	return appendStream(nil, typeStderr, requestID, bytes.Repeat([]byte(text), n/len(text)))
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n / 12 {
		fmt.Fprintf(&b, "X%07d:\r\n", i)
	}
	return b.String()
}

// scriptedTransport gives each request the same answer, at once.
func scriptedTransport(t *testing.T, answer []byte) *Transport {
	const most = 1 << 30
	b := &backend.Backend{
		URL: &url.URL{Scheme: "fcgi", Host: "app.test"}, DisableReuse: true, ReadBufferSize: len(answer)*3/4 + 16, // or an answer would be here at once
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return &scriptedConn{r: bytes.NewReader(answer)}, nil
		},
	}
	t.Cleanup(func() { _ = b.Close() })
	return &Transport{Backend: b, MaxHeadBytes: most, MaxLineBytes: most, MaxStderrBytes: most, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
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
