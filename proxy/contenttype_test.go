package proxy

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoContentTypeIsInvented: what the backend does not say of its body, the
// client is not told.
func TestNoContentTypeIsInvented(t *testing.T) {
	for answer, want := range map[string][]string{
		"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>":                            nil,
		"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Type: a/b\r\n\r\n<html>":       {"a/b"},
		"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n<html>\r\n0\r\n\r\n": nil,
	} {
		h, _, _ := handlerFor(t, answering(t, answer).url())
		resp, err := client(t).Get(frontOf(t, h).URL)
		require.NoError(t, err)
		require.Equal(t, "<html>", body(t, resp))
		require.Equal(t, want, resp.Header["Content-Type"], answer)
	}
}
