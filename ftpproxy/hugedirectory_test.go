package ftpproxy

import (
	"fmt"
	"io"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestHugeDirectoryIsStreamed: the first rows are with the client while the
// last are not yet with us.
func TestHugeDirectoryIsStreamed(t *testing.T) {
	const lines = 50_000
	s := startScripted(t)
	seen := make(chan struct{})
	s.on["LIST"] = func(c *scriptedConn, _ string) {
		c.say("150 coming")
		d := c.accept()
		defer d.Close()
		for i := range lines {
			if i == lines/2 {
				<-seen
			}
			if _, err := fmt.Fprintf(d, "-rw-r--r--   1 owner group %12d Jan  1  2024 file number %d\r\n", i, i); err != nil {
				return
			}
		}
		_ = d.Close()
		c.say("226 done")
	}
	front := httptest.NewServer(&proxy.Handler{Target: mustURL(t, "ftp://server.test/"), Transport: s.transport(patience)})
	defer front.Close()
	resp, err := front.Client().Get(front.URL + "/d/")
	require.NoError(t, err)
	defer resp.Body.Close()
	first := make([]byte, 4096)
	_, err = io.ReadFull(resp.Body, first)
	require.NoError(t, err)
	require.Contains(t, string(first), "file number 0<")
	close(seen)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	counted := &rowCounter{}
	_, err = io.Copy(counted, resp.Body)
	require.NoError(t, err)
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Equal(t, 1+lines, strings.Count(string(first), "<tr><td>")+counted.rows, "with the one that leads up")
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(4<<20))
}

// rowCounter counts rows without keeping them.
type rowCounter struct {
	rows int
	tail string
}

func (c *rowCounter) Write(p []byte) (int, error) {
	const row = "<tr><td>"
	text := c.tail + string(p)
	c.rows += strings.Count(text, row)
	if i := strings.LastIndex(text, row); i >= 0 {
		text = text[i+len(row):]
	}
	c.tail = text[max(0, len(text)-len(row)+1):]
	return len(p), nil
}

// TestLongLine: no line of a listing is without a limit.
func TestLongLine(t *testing.T) {
	s := startScripted(t)
	s.list = strings.Repeat("x", 1<<20)
	_, _, err := ask(t.Context(), s.transport(patience), "GET", "/d/", nil)
	require.ErrorIs(t, err, exchange.ErrMalformed)
	require.Equal(t, 502, exchange.StatusOf(err))
}
