package proxy_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// TestEmptyAnswerKeepsTheBackend: where packets tell the end of an answer, that
// of one without content may come behind its head. The client has the answer
// before, and the connection serves the next request; but no end is waited for
// long.
func TestEmptyAnswerKeepsTheBackend(t *testing.T) {
	fcgiEnd := record(3, 1, "\x00\x00\x00\x00\x00\x00\x00\x00")
	fcgiHead := func(status string) string { return record(stdout, 1, "Status: "+status+"\r\n\r\n") }
	ajpEnd := packet("\x05\x01")
	ajpHead := func(status string) string { return packet("\x04\x00" + status + "\x00\x02OK\x00\x00\x00") }
	const never = time.Hour
	for name, tc := range map[string]struct {
		speaks    spoken
		method    string
		modified  int // what ModifyResponse makes of the status
		head, end string
		pause     time.Duration
	}{
		"FastCGI 204":        {speaks: fastCGI, head: fcgiHead("204"), end: fcgiEnd},
		"FastCGI 304":        {speaks: fastCGI, head: fcgiHead("304"), end: fcgiEnd},
		"FastCGI 205":        {speaks: fastCGI, head: fcgiHead("205"), end: fcgiEnd},
		"FastCGI HEAD":       {speaks: fastCGI, method: "HEAD", head: fcgiHead("200"), end: fcgiEnd},
		"FastCGI HEAD, body": {speaks: fastCGI, method: "HEAD", head: fcgiHead("200"), end: record(stdout, 1, "abc") + fcgiEnd},
		"FastCGI 200 as 304": {speaks: fastCGI, modified: 304, head: fcgiHead("200"), end: record(stdout, 1, "abc") + fcgiEnd},
		"FastCGI, no end":    {speaks: fastCGI, head: fcgiHead("304"), pause: never},
		"AJP 204":            {speaks: ajp13, head: ajpHead("\xcc"), end: ajpEnd},
		"AJP 205":            {speaks: ajp13, head: ajpHead("\xcd"), end: ajpEnd},
		"AJP HEAD":           {speaks: ajp13, method: "HEAD", head: ajpHead("\xc8"), end: ajpEnd},
		"AJP HEAD, flushed":  {speaks: ajp13, method: "HEAD", head: ajpHead("\xc8"), end: emptyChunk + ajpEnd},
		"AJP 200 as 304":     {speaks: ajp13, modified: 304, head: ajpHead("\xc8"), end: packet("\x03\x00\x03abc\x00") + ajpEnd},
		"AJP, no end":        {speaks: ajp13, head: ajpHead("\xcc"), pause: never},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pause := tc.pause
				if pause == 0 {
					pause = 100 * time.Millisecond
				}
				told := make(chan struct{}, 1)
				var dialled, early atomic.Int32
				serve := func(p *peer) {
					defer p.Close()
					for tc.speaks.reads(p) {
						_, _ = io.WriteString(p, tc.head)
						select {
						case <-told:
							early.Add(1)
						case <-time.After(time.Minute):
						}
						if pause == never {
							silent(p)
							return
						}
						time.Sleep(pause)
						_, _ = io.WriteString(p, tc.end)
					}
				}
				u, err := url.Parse(tc.speaks.url)
				require.NoError(t, err)
				b := &backend.Backend{URL: u, DialContext: func(context.Context, string, string) (net.Conn, error) {
					dialled.Add(1)
					near, far := net.Pipe()
					go serve(&peer{Conn: far, t: t, r: bufio.NewReader(far)})
					return near, nil
				}}
				h := &proxy.Handler{Target: u, Transport: tc.speaks.transport(b)}
				if tc.modified != 0 {
					h.ModifyResponse = func(resp *http.Response) error { resp.StatusCode = tc.modified; return nil }
				}
				begun := time.Now()
				for range 3 {
					h.ServeHTTP(flushTeller{httptest.NewRecorder(), told}, httptest.NewRequest(tc.method, "/a.php", nil))
				}
				spent := time.Since(begun)
				synctest.Wait()
				_ = b.Close()
				require.EqualValues(t, 3, early.Load(), "the client has the answer before its end")
				if pause == never {
					require.Less(t, spent, 3*time.Second)
					return
				}
				require.EqualValues(t, 1, dialled.Load())
			})
		})
	}
}

// flushTeller tells of each flush.
type flushTeller struct {
	*httptest.ResponseRecorder
	told chan<- struct{}
}

func (f flushTeller) FlushError() error {
	f.Flush()
	select {
	case f.told <- struct{}{}:
	default:
	}
	return nil
}
