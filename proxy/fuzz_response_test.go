package proxy

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
		lim := headLimits{line: 256, total: 1024}
		r := bufio.NewReaderSize(bytes.NewReader(data), 64)
		block, err := readHead(r, nil, lim)
		if err != nil {
			require.True(t, errors.Is(err, ErrMalformed) || errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF, "%v", err)
			return
		}
		require.LessOrEqual(t, len(block), lim.total)
		var resp http.Response
		if err := parseResponse(string(block), &resp, make([]string, 0, 4)); err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		require.True(t, resp.StatusCode >= 100 && resp.StatusCode <= 999)
		for name, values := range resp.Header {
			require.True(t, isToken(name), "%q", name)
			require.Equal(t, http.CanonicalHeaderKey(name), name)
			require.NotEmpty(t, values)
			for _, v := range values {
				require.False(t, strings.ContainsAny(v, "\r\n\x00"), "%q", v)
			}
		}
		hadTE := resp.Header["Transfer-Encoding"] != nil
		framing, length, err := responseFraming(method, &resp)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		switch framing {
		case framingLength:
			require.False(t, hadTE)
			require.Equal(t, []string{strconv.FormatInt(length, 10)}, normalized(resp.Header["Content-Length"]))
		case framingChunked:
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
		lim := headLimits{line: 64, total: 256}
		whole, wholeTrailer, wholeErr := dechunk(bytes.NewReader(data), 4096, lim)
		cut, cutTrailer, cutErr := dechunk(stepReader{bytes.NewReader(data), int(step%7) + 1}, 4096, lim)
		require.Equal(t, whole, cut)
		require.Equal(t, wholeTrailer, cutTrailer)
		require.Equal(t, wholeErr == nil, cutErr == nil, "%v, %v", wholeErr, cutErr)
		if wholeErr != nil {
			require.True(t, errors.Is(wholeErr, ErrMalformed) || errors.Is(wholeErr, io.ErrUnexpectedEOF), "%v", wholeErr)
		}
		require.LessOrEqual(t, len(whole), len(data))
		for name := range wholeTrailer {
			require.False(t, forbiddenTrailer(name), name)
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

func dechunk(r io.Reader, size int, lim headLimits) ([]byte, http.Header, error) {
	c := chunkedReader{r: bufio.NewReaderSize(r, size), lim: lim}
	var out []byte
	buf := make([]byte, 32)
	for {
		n, err := c.Read(buf)
		out = append(out, buf[:n]...)
		if err == io.EOF {
			return out, c.trailer, nil
		}
		if err != nil {
			return out, c.trailer, err
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
		require.GreaterOrEqual(t, int64(keepAliveTimeout(s)), int64(0))
	})
}
