package ajp

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// golden reads bytes that were seen on a connection: hexadecimal digits, and
// text in quotes; what follows a # is a remark.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	var b []byte
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		for i, part := range strings.Split(line, `"`) {
			if i%2 == 1 {
				b = append(b, part...)
				continue
			}
			digits, err := hex.DecodeString(strings.Join(strings.Fields(part), ""))
			require.NoError(t, err, "%s: %s", name, line)
			b = append(b, digits...)
		}
	}
	return b
}

// TestForwardRequestIsThatOfHTTPD makes the request that httpd was seen to
// send; fields may come in any order.
func TestForwardRequestIsThatOfHTTPD(t *testing.T) {
	want := golden(t, "httpd-forward-request.txt")
	u, err := url.Parse("ajp://127.0.0.1:19302/p%20a/th;x=1?q=1&r=%2F")
	require.NoError(t, err)
	r := &http.Request{Method: "GET", Proto: "HTTP/1.1", URL: u, Header: http.Header{
		"User-Agent": {"curl/7.88.1"}, "Accept": {"*/*"}, "X-Test": {"v1"}, "Cookie": {"a=b"},
	}}
	f := facts{host: "127.0.0.1:19302", remoteAddr: "127.0.0.1:46378", localAddr: "127.0.0.1", secret: "s3cret"}
	b, perr := appendForwardRequest(nil, r, bodyNone, &f, DefaultPacketSize)
	require.Nil(t, perr)
	require.Len(t, b, len(want))
	const portAt = 0x3b // httpd tells the port that it listens at, we that of the Host field
	require.Equal(t, 19302, getInt(b[portAt:]))
	putInt(b[portAt:], getInt(want[portAt:]))
	const fieldsAt = 0x46 // up to there, and from the attributes on, the order is fixed
	require.Equal(t, want[:fieldsAt], b[:fieldsAt])
	at := strings.Index(string(want), "\x0c\x00\x06s3cret")
	require.Positive(t, at)
	require.Equal(t, want[at:], b[at:])

	var theirs, ours forwardRequest
	require.NoError(t, parseForwardRequest(string(want[headSize+1:]), &theirs))
	require.NoError(t, parseForwardRequest(string(b[headSize+1:]), &ours))
	require.Equal(t, theirs, ours)
	require.Equal(t, "GET", theirs.method)
	require.Equal(t, "/p%20a/th;x=1", theirs.uri)
	require.Equal(t, "q=1&r=%2F", theirs.query)
	require.Equal(t, "s3cret", theirs.secret)
	require.Equal(t, "46378", theirs.attributes.RemotePort)
	require.Equal(t, []string{"127.0.0.1:19302"}, theirs.header["Host"])
	require.Equal(t, []string{"v1"}, theirs.header["X-Test"])
}

func TestSendHeadersOfTomcat(t *testing.T) {
	b := golden(t, "tomcat-send-headers.txt")
	kind, length, err := packetHead(b, DefaultPacketSize)
	require.NoError(t, err)
	require.EqualValues(t, typeSendHeaders, kind)
	require.Equal(t, len(b)-headSize, length)
	var h answerHead
	require.NoError(t, parseSendHeaders(string(b[headSize+1:]), &h))
	require.Equal(t, "404 Not Found", h.statusLine())
	require.Equal(t, http.Header{"Content-Type": {"text/html;charset=utf-8"}, "Content-Language": {"en"}, "Content-Length": {"768"}}, h.header)
}

func TestSmallPackets(t *testing.T) {
	for name, want := range map[string]struct {
		kind   byte
		length int
	}{
		"4142 0001 09":         {typeCPong, 1},
		"4142 0002 05 01":      {typeEndResponse, 2},
		"4142 0003 06 1ffa":    {typeGetBodyChunk, 3},
		"4142 002a 03 0026 ab": {typeSendBodyChunk, 42},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(name, " ", ""))
		require.NoError(t, err)
		kind, length, err := packetHead(b, DefaultPacketSize)
		require.NoError(t, err, name)
		require.Equal(t, want.kind, kind, name)
		require.Equal(t, want.length, length, name)
	}
	require.Equal(t, []byte{0x41, 0x42, 0, 3, 6, 0x1f, 0xfa}, appendAsk(nil, DefaultPacketSize-bodyHead))
	require.Equal(t, []byte{0x41, 0x42, 0, 7, 3, 0, 3, 'a', 'b', 'c', 0}, appendChunk(nil, []byte("abc")))
}

func TestCodesAgree(t *testing.T) {
	for i, m := range methods {
		require.Equal(t, byte(i+1), methodCode(m), m)
	}
	require.EqualValues(t, methodStored, methodCode("PATCH"))
	for i, name := range requestNames {
		require.Equal(t, nameCode+i+1, requestNameCode(name), name)
		require.Equal(t, http.CanonicalHeaderKey(name), name)
	}
	for i, name := range responseNames {
		require.Equal(t, nameCode+i+1, responseNameCode(name), name)
		require.Equal(t, http.CanonicalHeaderKey(name), name)
	}
	require.Zero(t, requestNameCode("X"))
	require.Zero(t, responseNameCode("X"))
}
