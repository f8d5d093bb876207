package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
	"github.com/modproxy/modproxy/proxy/parsertest"
)

// FuzzResponseHead: whatever a backend sends, a head that is accepted has one
// reading, and holds nothing with which a client could be deceived.
func FuzzResponseHead(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
		"HTTP/1.1 200 OK\nA: b\n\n",
		"\r\nHTTP/1.0 404 Not Found\r\nA: b\r\n c\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
		"HTTP/1.1 200 a\x00b\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA\r: b\r\n\r\n",
		"HTTP/1.1 999\r\na:\r\n\r\n",
	} {
		f.Add([]byte(s), "GET")
	}
	f.Fuzz(func(t *testing.T, data []byte, method string) {
		lim := HeadLimits{Line: 256, Total: 1024}
		r := bufio.NewReaderSize(bytes.NewReader(data), 64)
		block, err := ReadHead(r, nil, lim)
		if err != nil {
			require.True(t, errors.Is(err, exchange.ErrMalformed) || errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF, "%v", err)
			return
		}
		require.LessOrEqual(t, len(block), lim.Total)
		var resp http.Response
		if err := ParseResponse(string(block), &resp, make([]string, 0, 4)); err != nil {
			require.ErrorIs(t, err, exchange.ErrMalformed)
			return
		}
		require.True(t, resp.StatusCode >= 100 && resp.StatusCode <= 999)
		for name, values := range resp.Header {
			require.True(t, syntax.IsToken(name), "%q", name)
			require.Equal(t, http.CanonicalHeaderKey(name), name)
			require.NotEmpty(t, values)
			for _, v := range values {
				require.False(t, strings.ContainsAny(v, "\r\n\x00"), "%q", v)
			}
		}
		hadTE := resp.Header["Transfer-Encoding"] != nil
		framing, length, err := ResponseFraming(method, &resp)
		if err != nil {
			require.ErrorIs(t, err, exchange.ErrMalformed)
			return
		}
		switch framing {
		case FramingLength:
			require.False(t, hadTE)
			require.Equal(t, []string{strconv.FormatInt(length, 10)}, normalized(resp.Header["Content-Length"]))
		case FramingChunked:
			require.True(t, hadTE)
			require.Empty(t, resp.Header["Content-Length"])
		}
		require.Empty(t, resp.Header["Transfer-Encoding"])
	})
}

// normalized writes a length without leading zeros.
func normalized(values []string) []string {
	out := make([]string, 0, len(values))
	for _, v := range values {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return values
		}
		out = append(out, strconv.FormatInt(n, 10))
	}
	return out
}

// FuzzChunked: however the bytes are cut into reads, the decoder gives the same
// data and end; what it accepts decodes to no more than was sent, and what it
// encodes itself comes back.
func FuzzChunked(f *testing.F) {
	for _, s := range []string{
		"2\r\nab\r\n0\r\n\r\n",
		"2;x=y\r\nab\r\n0\r\nA: b\r\n\r\n",
		"a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\nrest",
		"0\r\n\r\n",
		"2\r\nabc\r\n0\r\n\r\n",
		"2\nab\r\n0\r\n\r\n",
		"-1\r\n", "0x2\r\nab\r\n", "ffffffffffffffff\r\n", "2 \r\nab\r\n0\r\n\n",
		"0\r\nContent-Length: 5\r\nX: y\r\n\r\n",
	} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		lim := HeadLimits{Line: 64, Total: 256}
		whole, wholeTrailer, wholeErr := dechunk(bytes.NewReader(data), 4096, lim)
		cut, cutTrailer, cutErr := dechunk(stepReader{bytes.NewReader(data), int(step%7) + 1}, 4096, lim)
		require.Equal(t, whole, cut)
		require.Equal(t, wholeTrailer, cutTrailer)
		require.Equal(t, wholeErr == nil, cutErr == nil, "%v, %v", wholeErr, cutErr)
		if wholeErr != nil {
			require.True(t, errors.Is(wholeErr, exchange.ErrMalformed) || errors.Is(wholeErr, io.ErrUnexpectedEOF), "%v", wholeErr)
		}
		require.LessOrEqual(t, len(whole), len(data))
		for name := range wholeTrailer {
			require.False(t, exchange.ForbiddenTrailer(name), name)
		}

		var wire bytes.Buffer
		for rest := data; len(rest) > 0; {
			n := min(int(step)+1, len(rest))
			wire.WriteString(strconv.FormatInt(int64(n), 16) + "\r\n")
			wire.Write(rest[:n])
			wire.WriteString("\r\n")
			rest = rest[n:]
		}
		wire.WriteString("0\r\n\r\n")
		back, _, err := dechunk(&wire, 4096, lim)
		require.NoError(t, err)
		require.Equal(t, string(data), string(back))
	})
}

// dechunk decodes what r has, with a buffer of size bytes.
func dechunk(r io.Reader, size int, lim HeadLimits) (out []byte, trailer http.Header, err error) {
	c := Chunked{Lim: lim}
	br := bufio.NewReaderSize(r, size)
	for left := int64(0); ; {
		have, _ := br.Peek(br.Buffered())
		if n := min(left, int64(len(have))); n > 0 {
			out = append(out, have[:n]...)
			_, _ = br.Discard(int(n))
			left -= n
			continue
		}
		if left == 0 {
			var used int
			used, left, err = c.Next(have)
			_, _ = br.Discard(used)
		}
		if err == nil && (left == 0 || br.Buffered() == 0) {
			_, err = br.Peek(br.Buffered() + 1)
			err = Unexpected(err)
		}
		if err == io.EOF {
			return out, c.Trailer, nil
		}
		if err != nil {
			return out, c.Trailer, err
		}
	}
}

// stepReader reads a few bytes at a time.
type stepReader struct {
	r io.Reader
	n int
}

func (s stepReader) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), s.n)]) }

// FuzzKeepAlive: the idle time learnt from a backend is never negative.
func FuzzKeepAlive(f *testing.F) {
	f.Add("timeout=5, max=100")
	f.Add("max=1;timeout=99999999999999999999")
	f.Add("timeout=-1")
	f.Fuzz(func(t *testing.T, s string) {
		require.GreaterOrEqual(t, int64(KeepAliveTimeout(s)), int64(0))
	})
}

// TestCost: no head costs more than its length.
func TestCost(t *testing.T) {
	inputs := make(map[string]parsertest.Input)
	for _, text := range []string{"A:\r\n", " c\r\n", " \r\n", "Transfer-Encoding: a,\r\n", "Content-Length: 1,1\r\n", "Connection: a,b\r\n"} {
		inputs[text] = func(n int) func() {
			head := "HTTP/1.1 200 OK\r\nA: b\r\n" + strings.Repeat(text, n/len(text)) + "\r\n"
			return func() {
				block, err := ReadHead(bufio.NewReader(strings.NewReader(head)), nil, HeadLimits{Line: 1 << 30, Total: 1 << 30})
				require.NoError(t, err)
				var resp http.Response
				if err := ParseResponse(string(block), &resp, nil); err == nil {
					_, _, _ = ResponseFraming("GET", &resp)
				}
			}
		}
	}
	for _, text := range []string{"a=,", ",", "timeout=5,"} {
		inputs["Keep-Alive "+text] = func(n int) func() {
			s := strings.Repeat(text, n/len(text))
			return func() { KeepAliveTimeout(s) }
		}
		inputs["Trailer "+text] = func(n int) func() {
			s := strings.Repeat(text, n/len(text))
			return func() { AnnouncedTrailer([]string{s}) }
		}
	}
	parsertest.Linear(t, inputs)
}
