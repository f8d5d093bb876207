package wstunnel

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

// TestRandomStreams: bytes of any protocol pass as they are, both ways at once,
// however they are cut; each side may end before the other.
func TestRandomStreams(t *testing.T) {
	up, down := make([]byte, 3<<20+1), make([]byte, 2<<20+3)
	_, _ = rand.Read(up)
	_, _ = rand.Read(down)
	for _, firstToEnd := range []string{"client", "backend", "both"} {
		t.Run(firstToEnd, func(t *testing.T) {
			clientEnded, backendEnded := make(chan struct{}), make(chan struct{})
			wrong := make(chan string, 2)
			back := scripted(t, func(c net.Conn, r *http.Request, buf *bufio.Reader) {
				_, _ = c.Write(append([]byte(switching(r)), down[:1000]...)) // with the 101
				var both sync.WaitGroup
				both.Go(func() {
					pieces(c, down[1000:])
					if firstToEnd == "client" {
						<-clientEnded
						_, _ = io.WriteString(c, "more")
					}
					_ = c.(*net.TCPConn).CloseWrite()
					close(backendEnded)
				})
				got, err := io.ReadAll(buf)
				want := up
				if firstToEnd == "backend" {
					want = append(bytes.Clone(up), "more"...)
				}
				if err != nil || !bytes.Equal(got, want) {
					wrong <- "bytes to the backend were changed"
				}
				both.Wait()
			})
			h := handlerTo(t, back)
			h.Protocols = []string{"raw"}
			c, r := rawDial(t, serve(t, h), "GET / HTTP/1.1\r\nHost: front\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n"+string(up[:500])) // with the request
			var writing sync.WaitGroup
			writing.Go(func() {
				pieces(c, up[500:])
				if firstToEnd == "backend" {
					<-backendEnded
					_, _ = io.WriteString(c, "more")
				}
				_ = c.CloseWrite()
				close(clientEnded)
			})
			require.Equal(t, http.StatusSwitchingProtocols, answerOf(t, r).StatusCode)
			got, err := io.ReadAll(r)
			require.NoError(t, err)
			want := down
			if firstToEnd == "client" {
				want = append(bytes.Clone(down), "more"...)
			}
			require.True(t, bytes.Equal(got, want), "bytes to the client were changed")
			writing.Wait()
			nothingLeft(t, h, 0)
			require.Empty(t, wrong)
		})
	}
}

// pieces writes b in pieces of all sizes.
func pieces(w io.Writer, b []byte) {
	for size := 1; len(b) > 0; size = size*3%300_007 + 1 {
		n := min(size, len(b))
		if _, err := w.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
	}
}

// TestFaults: a side that dies, goes silent or closes by half, at each moment
// of a tunnel, leaves nothing behind, and the other side hears of it.
func TestFaults(t *testing.T) {
	type side func(c *net.TCPConn)
	faults := map[string]side{
		"reset":  func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
		"close":  func(c *net.TCPConn) { _ = c.Close() },
		"stall":  func(*net.TCPConn) {},
		"halved": func(c *net.TCPConn) { _ = c.CloseWrite() },
	}
	const message = "\x81\x05hello"
	masked := "\x81\x85\x00\x00\x00\x00hello"
	phases := []string{"after the request", "in the head of the answer", "after the switch", "in a frame", "while bytes wait"}
	for fault, strike := range faults {
		for _, phase := range phases {
			for _, who := range []string{"client", "backend"} {
				for _, mode := range []string{"bytes", "messages"} {
					t.Run(fault+" of the "+who+" "+phase+" "+mode, func(t *testing.T) {
						t.Parallel()
						reached, switched, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
						finish := sync.OnceFunc(func() { close(over) })
						t.Cleanup(finish)
						back := scripted(t, func(c net.Conn, r *http.Request, _ *bufio.Reader) {
							tc := c.(*net.TCPConn)
							hit := func() {
								close(reached)
								if who == "backend" {
									strike(tc)
								}
								<-over
								_ = tc.Close()
							}
							if phase == phases[0] {
								hit()
								return
							}
							head := switching(r)
							if phase == phases[1] {
								_, _ = io.WriteString(tc, head[:20])
								hit()
								return
							}
							_, _ = io.WriteString(tc, head)
							select {
							case <-switched:
							case <-over:
							}
							switch phase {
							case phases[3]:
								_, _ = io.WriteString(tc, message+message[:3])
							case phases[4]: // more than sockets hold, to a client that does not read
								_ = tc.SetWriteDeadline(time.Now().Add(time.Second))
								_, _ = tc.Write([]byte("\x82\x7f\x00\x00\x00\x00\x40\x00\x00\x00"))
								_, _ = tc.Write(make([]byte, 20<<20))
							}
							hit()
						})
						h := handlerTo(t, back)
						modes[mode](h)
						h.IdleTimeout = 300 * time.Millisecond
						h.Proxy.Transport = transportWith(t, h, 600*time.Millisecond)
						ended := make(chan tunnel.Stats, 1)
						h.Proxy.OnTunnel = func(_ *http.Response, tn *tunnel.Tunnel) error {
							tn.OnEnd = func(s tunnel.Stats) { ended <- s }
							return nil
						}
						front := serve(t, h)
						t.Cleanup(finish)
						c, r := rawDial(t, front, handshake0+"\r\n")
						if phase != phases[0] && phase != phases[1] {
							require.Equal(t, http.StatusSwitchingProtocols, answerOf(t, r).StatusCode)
							close(switched)
						}
						if phase == phases[3] {
							_, _ = io.WriteString(c, masked+masked[:7])
						}
						<-reached
						if who == "client" {
							strike(c)
						}
						switch {
						case who == "client":
						case phase == phases[0] || phase == phases[1]:
							require.Contains(t, []int{http.StatusBadGateway, http.StatusGatewayTimeout}, answerOf(t, r).StatusCode)
						case phase != phases[4]:
							_, _ = io.Copy(io.Discard, r) // it ends
						}
						require.Eventually(t, func() bool { return h.Proxy.Tunnels.Count() == 0 }, patience, time.Millisecond)
						if phase != phases[0] && phase != phases[1] {
							<-ended
						}
						finish()
						_ = c.Close()
						nothingLeft(t, h, 0)
					})
				}
			}
		}
	}
}

// transportWith returns a transport that waits no longer than that.
func transportWith(t *testing.T, h *Handler, timeout time.Duration) http.RoundTripper {
	tr := &proxy.Transport{Backend: backendOf(h, timeout)}
	t.Cleanup(func() { _ = tr.Backend.Close() })
	return tr
}

// TestEarlyBytes: what either side sends before the switch is known to it
// arrives, and in order, in both modes.
func TestEarlyBytes(t *testing.T) {
	for _, mode := range []string{"bytes", "messages"} {
		t.Run(mode, func(t *testing.T) {
			got := make(chan string, 1)
			back := scripted(t, func(c net.Conn, r *http.Request, buf *bufio.Reader) {
				_, _ = io.WriteString(c, switching(r)+"\x81\x02hi")
				frame := make([]byte, 11)
				_, _ = io.ReadFull(buf, frame)
				got <- unmask(frame)
				_ = c.Close()
			})
			h := handlerTo(t, back)
			modes[mode](h)
			_, r := rawDial(t, serve(t, h), handshake0+"\r\n\x81\x85\x01\x02\x03\x04"+mask("early", "\x01\x02\x03\x04"))
			require.Equal(t, http.StatusSwitchingProtocols, answerOf(t, r).StatusCode)
			frame := make([]byte, 4)
			_, err := io.ReadFull(r, frame)
			require.NoError(t, err)
			require.Equal(t, "\x81\x02hi", string(frame))
			require.Equal(t, "early", <-got)
		})
	}
}

func mask(text, key string) string {
	b := []byte(text)
	for i := range b {
		b[i] ^= key[i%4]
	}
	return string(b)
}

// unmask returns the text of a masked frame of at most 125 bytes.
func unmask(frame []byte) string { return mask(string(frame[6:]), string(frame[2:6])) }

// TestFarewellCutsNothing: a client in whose direction bytes are always moving
// gets its Close between two messages, and not in one, and nothing after it.
func TestFarewellCutsNothing(t *testing.T) {
	for name, message := range map[string]string{
		"small": "\x81\x05hello", "fragmented": "\x01\x02he\x80\x03llo", "large": "\x82\x7f\x00\x00\x00\x00\x00\x04\x00\x00" + strings.Repeat("x", 4<<16),
	} {
		t.Run(name, func(t *testing.T) {
			back := scripted(t, func(c net.Conn, r *http.Request, buf *bufio.Reader) {
				_, _ = io.WriteString(c, switching(r))
				go func() { _, _ = io.Copy(io.Discard, buf) }()
				for {
					if _, err := io.WriteString(c, message); err != nil {
						return
					}
				}
			})
			h := handlerTo(t, back)
			h.CloseDelay = 50 * time.Millisecond
			_, r := rawDial(t, serve(t, h), handshake0+"\r\n")
			answerOf(t, r)
			var seen int
			buf := make([]byte, len(message))
			done := make(chan error, 1)
			for ; ; seen++ {
				if _, err := io.ReadFull(r, buf[:4]); err != nil {
					t.Fatalf("no farewell after %d messages: %v", seen, err)
				}
				if string(buf[:4]) == "\x88\x02\x03\xe9" {
					break
				}
				_, err := io.ReadFull(r, buf[4:])
				require.NoError(t, err)
				require.True(t, string(buf) == message, "message %d is cut", seen)
				if seen == 20 {
					go func() { done <- h.Shutdown(t.Context()) }()
				}
			}
			rest, _ := io.ReadAll(r)
			require.Empty(t, rest)
			require.NoError(t, <-done)
		})
	}
}
