package fcgi

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// FuzzRecords reads any bytes as the records of an answer, in one piece and
// byte by byte: both say the same, and what is foretold of the buffer is true.
func FuzzRecords(f *testing.F) {
	f.Add(join(stdout("A: b\r\n\r\nbody"), end(0, 0)))
	f.Add(join(stderr("oops"), stdout("A: b\r\n\r\n"), appendRecord(nil, typeStdout, 1, nil), end(1, 2)))
	f.Add([]byte{1, 6, 0, 1, 0, 1, 255, 0, 'x'})
	f.Add(join(appendRecord(nil, typeUnknownType, 0, make([]byte, 8)), end(0, 0)))
	f.Fuzz(func(t *testing.T, data []byte) {
		read := func(r io.Reader) (content, errout []byte, end endRequest, err error) {
			s := records{stderr: func(b []byte) { errout = append(errout, b...) }}
			br := bufio.NewReaderSize(r, 64)
			foretold := -1 // content before the end, once that is here
			for left := int64(0); ; {
				have, _ := br.Peek(br.Buffered())
				if n, ended := s.foretell(have, left); ended && foretold < 0 {
					foretold = len(content) + n
				}
				used := int(min(left, int64(len(have))))
				content = append(content, have[:used]...)
				if left -= int64(used); left == 0 {
					var n int
					n, left, err = s.next(have[used:])
					used += n
				}
				_, _ = br.Discard(used)
				if used == 0 && err == nil {
					require.Negative(t, foretold)
					_, err = br.Peek(br.Buffered() + 1)
				}
				if err != nil {
					if foretold >= 0 {
						require.Len(t, content, foretold)
					}
					return content, errout, s.end, err
				}
			}
		}
		content, errout, end, err := read(bytes.NewReader(data))
		content2, errout2, end2, err2 := read(iotest.OneByteReader(bytes.NewReader(data)))
		require.Equal(t, content, content2)
		require.Equal(t, errout, errout2)
		require.Equal(t, end, end2)
		require.Equal(t, err.Error(), err2.Error())
		require.LessOrEqual(t, len(content)+len(errout), len(data))
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			require.ErrorIs(t, err, exchange.ErrMalformed)
		}
	})
}

// FuzzParams reads any bytes as name-value pairs; what is read is written the
// same way again.
func FuzzParams(f *testing.F) {
	f.Add(appendPair(appendPair(nil, "A", "b"), "LONG", string(make([]byte, 200))))
	f.Add([]byte{128, 0, 0, 1, 1, 'a', 'b'})
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		var again []byte
		rest := data
		for len(rest) > 0 {
			name, value, more, err := parsePair(rest)
			if err != nil {
				return
			}
			again = appendPair(again, name, value)
			n, v, left, err := parsePair(appendPair(nil, name, value))
			require.NoError(t, err)
			require.Empty(t, left)
			require.Equal(t, name, n)
			require.Equal(t, value, v)
			require.Less(t, len(more), len(rest))
			rest = more
		}
		require.LessOrEqual(t, len(again), len(data))
	})
}

// FuzzSplitScript divides any path: the two parts make up the whole.
func FuzzSplitScript(f *testing.F) {
	for _, s := range []string{"/a.php/b", "/a.PHP", "/.php/x", "/upload/x.jpg/y.php", "", "/a.phps/b.php/c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		filename, info := splitScript(p, phpSuffix)
		require.Equal(t, p, filename+info)
		if info != "" {
			require.Equal(t, byte('/'), info[0])
			require.True(t, isScript(filename, phpSuffix))
		}
	})
}

// FuzzValues reads any bytes as the content of a GET_VALUES_RESULT.
func FuzzValues(f *testing.F) {
	f.Add(appendPair(appendPair(nil, MaxConns, "4"), MpxsConns, ""))
	f.Add([]byte{128, 0, 0, 1, 0, 'a'})
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		values, err := parseValues(data)
		if err != nil {
			require.ErrorIs(t, err, exchange.ErrMalformed)
			return
		}
		var b []byte
		for name, value := range values {
			b = appendPair(b, name, value)
		}
		again, err := parseValues(b)
		require.NoError(t, err)
		require.Equal(t, values, again)
	})
}
