package apache

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// recording is an origin that writes down each request as its bytes say, and
// answers with what the test has put down: nothing but the end for "", and
// always with 200 below /pages/. Behind a 101 it says what it hears.
type recording struct {
	l  net.Listener
	wg sync.WaitGroup

	mu       sync.Mutex // guards all below
	answer   string
	requests []string // each as lines "> …"
	open     map[net.Conn]bool
}

func newRecording(t *testing.T) *recording {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return newRecordingAt(t, l)
}

func newRecordingAt(t *testing.T, l net.Listener) *recording {
	o := &recording{l: l, open: make(map[net.Conn]bool)}
	o.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.open[c] = true
			o.mu.Unlock()
			o.wg.Go(func() { o.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		o.mu.Lock()
		for c := range o.open {
			_ = c.Close()
		}
		o.mu.Unlock()
		o.wg.Wait()
	})
	return o
}

func (o *recording) addr() string { return o.l.Addr().String() }

// expect puts the next answer down, and forgets what came before.
func (o *recording) expect(answer string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer, o.requests = answer, nil
}

func (o *recording) seen() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.requests)
}

func (o *recording) serve(c net.Conn) {
	defer func() {
		o.mu.Lock()
		delete(o.open, c)
		o.mu.Unlock()
		_ = c.Close()
	}()
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		lines := []string{"> " + strings.TrimSuffix(line, "\r\n")}
		var fields []string
		length, chunked := int64(0), false
		for {
			field, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if field = strings.TrimSuffix(field, "\r\n"); field == "" {
				break
			}
			name, value, _ := strings.Cut(field, ":")
			name, value = strings.ToLower(name), strings.TrimSpace(value)
			switch name {
			case "content-length":
				_, _ = fmt.Sscan(value, &length)
			case "transfer-encoding":
				chunked = true
			}
			fields = append(fields, "> "+name+": "+value)
		}
		slices.SortStableFunc(fields, func(a, b string) int { return strings.Compare(fieldName(a), fieldName(b)) })
		lines = append(lines, fields...)
		var body []byte
		if chunked {
			body, _ = io.ReadAll(http.MaxBytesReader(nil, io.NopCloser(newChunked(in)), 1<<20))
		} else {
			body = make([]byte, length)
			_, _ = io.ReadFull(in, body)
		}
		if len(body) > 0 {
			lines = append(lines, "> "+string(body))
		}
		o.mu.Lock()
		o.requests = append(o.requests, strings.Join(lines, "\n"))
		answer := o.answer
		o.mu.Unlock()
		if strings.Contains(line, " /pages/") {
			answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
		}
		if answer == "" {
			return
		}
		if strings.HasPrefix(answer, "HTTP/1.1 101 ") {
			_, _ = io.WriteString(c, answer)
			_, _ = io.Copy(c, in)
			return
		}
		if _, err := io.WriteString(c, answer); err != nil || strings.Contains(answer, "Connection: close") {
			return
		}
	}
}

// newChunked reads a chunked body to its end, trailer included.
func newChunked(in *bufio.Reader) io.Reader {
	pr, pw := io.Pipe()
	go func() {
		for {
			var n int64
			line, err := in.ReadString('\n')
			if err == nil {
				_, err = fmt.Sscanf(line, "%x", &n)
			}
			if err != nil {
				_ = pw.CloseWithError(err)
				return
			}
			if n == 0 {
				_, err = textproto.NewReader(in).ReadMIMEHeader()
				if err == nil {
					err = io.EOF
				}
				_ = pw.CloseWithError(err)
				return
			}
			_, _ = io.CopyN(pw, in, n)
			_, _ = in.ReadString('\n')
		}
	}()
	return pr
}

func fieldName(line string) string {
	name, _, _ := strings.Cut(line, ":")
	return name
}

// ask sends a request as it stands and returns the answer as lines "< …": the
// status, the fields, the body.
func ask(t *testing.T, addr, request string) []string {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	require.NoError(t, err)
	return askOver(t, c, request)
}

// askOver is ask over a connection, which it closes. Behind a 101 it says "ping".
func askOver(t *testing.T, c net.Conn, request string) []string {
	t.Helper()
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	_, err := io.WriteString(c, request)
	require.NoError(t, err)
	method, _, _ := strings.Cut(request, " ")
	in := bufio.NewReader(c)
	var lines []string
	for {
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return append(lines, "< "+err.Error())
		}
		lines = append(lines, fmt.Sprintf("< %d", resp.StatusCode))
		fields := headerLines(resp.Header)
		if resp.ContentLength >= 0 && (method == "HEAD" || resp.StatusCode == 304) && resp.Header["Content-Length"] != nil {
			fields = append(fields, fmt.Sprintf("< length: %d", resp.ContentLength))
		}
		slices.SortStableFunc(fields, func(a, b string) int { return strings.Compare(fieldName(a), fieldName(b)) })
		lines = append(lines, fields...)
		if resp.StatusCode == http.StatusSwitchingProtocols {
			_, _ = io.WriteString(c, "ping")
			pong := make([]byte, len("ping"))
			_, _ = io.ReadFull(in, pong)
			return append(lines, fmt.Sprintf("< %q", pong))
		}
		if resp.StatusCode < 200 {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if plain, ok := unpacked(resp.Header, body); ok {
			lines, body = append(lines, "< gzip"), plain
		}
		if len(body) > 0 {
			lines = append(lines, fmt.Sprintf("< %q", body))
		}
		if err != nil {
			lines = append(lines, "< cut: "+err.Error())
		}
		return lines
	}
}

// headerLines are all fields of an answer.
func headerLines(h http.Header) (fields []string) {
	for name, values := range h {
		for _, v := range values {
			fields = append(fields, "< "+strings.ToLower(name)+": "+v)
		}
	}
	return fields
}

// unpacked is the text of an answer that is packed by gzip.
func unpacked(h http.Header, body []byte) ([]byte, bool) {
	if h.Get("Content-Encoding") != "gzip" {
		return nil, false
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, false
	}
	plain, err := io.ReadAll(z)
	return plain, err == nil
}
