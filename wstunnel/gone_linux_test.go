package wstunnel

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestGoneWhileTheOtherDoesNotRead: neither tunnels, nor their goroutines, nor
// descriptors stay of clients that reset their connections while the backend does
// not read, nor of such backends.
func TestGoneWhileTheOtherDoesNotRead(t *testing.T) {
	const many = 20
	for _, mode := range []string{"bytes", "messages"} {
		t.Run(mode, func(t *testing.T) {
			before := descriptors(t)
			goroutines := runtime.NumGoroutine()
			idle := make(chan struct{})
			gone := make(chan struct{}, many)
			back := scripted(t, func(c net.Conn, r *http.Request, buf *bufio.Reader) {
				_, _ = io.WriteString(c, switching(r))
				if r.URL.Path == "/floods" {
					_, _ = io.WriteString(c, endlessFrame(false))
					flood(t, c)
					gone <- struct{}{}
				}
				<-idle
			})
			h := handlerTo(t, back)
			modes[mode](h)
			if h.Messages != nil {
				h.Messages.MaxSize = -1
			}
			front := serve(t, h)
			for range many {
				c, r := rawDial(t, front, handshake0+"\r\n"+endlessFrame(true))
				answerOf(t, r)
				flood(t, c)
			}
			clients := make([]*net.TCPConn, 0, many)
			for range many {
				c, r := rawDial(t, front, "GET /floods"+handshake0[len("GET /x"):]+"\r\n")
				answerOf(t, r)
				clients = append(clients, c)
			}
			for range many {
				<-gone
			}
			begun := time.Now()
			nothingLeft(t, h, 0)
			require.Less(t, time.Since(begun), 10*time.Second)
			close(idle)
			for _, c := range clients {
				_ = c.Close()
			}
			front.Close()
			require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+3 }, patience, 5*time.Millisecond, "goroutines are left")
			require.Eventually(t, func() bool { return descriptors(t) <= before+3 }, patience, 5*time.Millisecond, "descriptors are left")
		})
	}
}
