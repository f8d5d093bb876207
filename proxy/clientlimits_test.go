package proxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestStalledClients: two clients that neither send nor read have both
// connections to the backend. After a minute everybody else is served.
func TestStalledClients(t *testing.T) {
	const half = "Content-Length: 10\r\n\r\nhalf"
	requests := map[string]struct {
		text   string
		status int // that is recorded
	}{
		"body":                 {"PUT / HTTP/1.1\r\nHost: f\r\n" + half, 408},
		"body by chunks":       {"PUT / HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", 408},
		"in a chunk":           {"PUT / HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", 408},
		"nothing of the body":  {"POST / HTTP/1.1\r\nHost: f\r\nContent-Length: 10\r\n\r\n", 408},
		"not after a 100":      {"POST / HTTP/1.1\r\nHost: f\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n", 408},
		"body behind a head":   {"PUT /early HTTP/1.1\r\nHost: f\r\n" + half, 499},
		"chunks behind a head": {"PUT /early HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", 499},
		"answer":               {"GET /long HTTP/1.1\r\nHost: f\r\n\r\n", 499},
		"answer, length known": {"GET /known HTTP/1.1\r\nHost: f\r\n\r\n", 499},
		"answer, HTTP/1.0":     {"GET /long HTTP/1.0\r\nHost: f\r\n\r\n", 499},
		"answer, kept alive":   {"GET / HTTP/1.0\r\nHost: f\r\nConnection: keep-alive\r\n\r\nGET /long HTTP/1.1\r\nHost: f\r\n\r\n", 499},
	}
	setups := map[string]func(s *stallBench){
		"plain": func(*stallBench) {},
		"observed": func(s *stallBench) {
			s.server.Handler = (&Observer{Done: func(*http.Request, *exchange.Record) {}}).Wrap(s.server.Handler)
		},
		"flushing": func(s *stallBench) { s.handler.FlushInterval = time.Second },
		"replaced": func(s *stallBench) {
			s.handler.ModifyResponse = func(r *http.Response) error {
				r.Body = struct {
					io.Reader
					io.Closer
				}{r.Body, r.Body}
				return nil
			}
		},
		"foreign transport": func(s *stallBench) {
			tr := &http.Transport{DialContext: s.backend.DialContext, MaxConnsPerHost: 2}
			s.t.Cleanup(tr.CloseIdleConnections)
			s.handler.Transport = tr
		},
		"no deadlines": func(s *stallBench) {
			s.wrap = func(w http.ResponseWriter) http.ResponseWriter { return onlyWriter{w} }
		},
	}
	for setup, prepare := range setups {
		for name, tc := range requests {
			t.Run(setup+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newStallBench(t, "http")
					prepare(s)
					if strings.HasPrefix(tc.text, "GET / ") {
						s.stallsAfterFirst(tc.text)
						return
					}
					var clients []net.Conn
					for range 2 {
						clients = append(clients, s.http1(tc.text))
					}
					if strings.Contains(tc.text, "Expect") {
						for _, c := range clients {
							line, err := bufio.NewReader(c).ReadString('\n')
							require.NoError(t, err)
							require.Contains(t, line, " 100 ")
						}
					}
					time.Sleep(59 * time.Second)
					synctest.Wait()
					require.Empty(t, s.rec.all(), "nobody has been cut before the time")
					if setup != "foreign transport" {
						require.EqualValues(t, 2, s.backend.Stats().Busy)
						require.Contains(t, s.served(), " 503 ")
						synctest.Wait()
						s.rec.keep(0)
					}
					time.Sleep(2 * time.Second)
					synctest.Wait()
					if setup != "foreign transport" {
						require.Zero(t, s.backend.Stats().Busy)
					}
					freed := len(s.rec.all())
					require.Contains(t, s.served(), " 200 ")
					if setup == "no deadlines" && tc.status == 499 {
						return // the handler is waiting still
					}
					require.Equal(t, 2, freed)
					synctest.Wait()
					s.rec.keep(freed)
					s.stalled(tc.status)
					for _, c := range clients {
						if tc.status != http.StatusRequestTimeout {
							_, _ = io.Copy(io.Discard, c) // has an end
							continue
						}
						resp, err := http.ReadResponse(bufio.NewReader(c), nil)
						require.NoError(t, err)
						require.Equal(t, tc.status, resp.StatusCode)
						require.True(t, resp.Close)
						require.Equal(t, "408 Request Timeout\n", body(t, resp))
					}
				})
			})
		}
	}
}

// stallsAfterFirst has a client that reads one answer and not the next.
func (s *stallBench) stallsAfterFirst(text string) {
	first, second, _ := strings.Cut(text, "\r\n\r\nGET ")
	c := s.http1(first + "\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(s.t, err)
	require.Equal(s.t, "got 0", body(s.t, resp))
	time.Sleep(50 * time.Second) // idle
	_, err = io.WriteString(c, "GET "+second)
	require.NoError(s.t, err)
	time.Sleep(59 * time.Second)
	synctest.Wait()
	require.Len(s.t, s.rec.all(), 1)
	time.Sleep(2 * time.Second)
	synctest.Wait()
	require.Zero(s.t, s.backend.Stats().Busy)
	if s.wrap == nil { // else the handler is waiting still
		all := s.rec.all()
		require.Len(s.t, all, 2)
		require.ErrorIs(s.t, all[1].Err, exchange.ErrClientStalled)
	}
}

// TestStalledStreams is TestStalledClients over HTTP/2, to backends of both
// versions. Only the stream is reset.
func TestStalledStreams(t *testing.T) {
	for _, scheme := range []string{"http", "h2c"} {
		for name, status := range map[string]int{"/": 408, "/early": 499, "/long": 499, "/known": 499} {
			t.Run(scheme+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newStallBench(t, scheme)
					cl := s.http2()
					type result struct {
						resp *http.Response
						err  error
					}
					got := make(chan result, 2)
					var pipes []*io.PipeWriter
					for range 2 {
						method, rest := http.MethodGet, io.Reader(nil)
						if status == http.StatusRequestTimeout || name == "/early" {
							pr, pw := io.Pipe()
							pipes = append(pipes, pw)
							method, rest = http.MethodPut, io.MultiReader(strings.NewReader("half"), pr)
						}
						req, err := http.NewRequest(method, "http://f"+name, rest)
						require.NoError(t, err)
						go func() {
							resp, err := cl.Do(req)
							got <- result{resp, err}
						}()
					}
					time.Sleep(59 * time.Second)
					synctest.Wait()
					require.Empty(t, s.rec.all())
					time.Sleep(2 * time.Second)
					synctest.Wait()
					require.Len(t, s.rec.all(), 2)
					s.stalled(status)
					if scheme == "http" { // a connection of HTTP/2 stays in use
						require.Zero(t, s.backend.Stats().Busy)
					}
					for _, pw := range pipes {
						_ = pw.Close()
					}
					for range 2 {
						r := <-got
						require.NoError(t, r.err)
						_, err := io.ReadAll(r.resp.Body)
						_ = r.resp.Body.Close()
						if status == http.StatusRequestTimeout {
							require.NoError(t, err)
							require.Equal(t, status, r.resp.StatusCode)
						} else {
							require.Error(t, err)
						}
					}
					resp, err := cl.Get("http://f/") // over the same connection
					require.NoError(t, err)
					require.Equal(t, "got 0", body(t, resp))
				})
			})
		}
	}
}

// TestStalledConnectionOfHTTP2: a client that reads nothing at all cannot be
// told that its stream is reset, but the backend is free.
func TestStalledConnectionOfHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStallBench(t, "http")
		c := s.dial()
		go func() {
			fr := http2.NewFramer(c, nil)
			_, _ = io.WriteString(c, http2.ClientPreface)
			_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
			_ = fr.WriteWindowUpdate(0, 1<<30)
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true,
				BlockFragment: []byte("\x82\x86\x41\x01f\x44\x05/long")})
		}()
		_, _ = io.ReadFull(c, make([]byte, 1000)) // the begin of it
		time.Sleep(59 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 1, s.backend.Stats().Busy)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Zero(t, s.backend.Stats().Busy)
		require.Zero(t, s.backend.Stats().Open)
	})
}

// TestSlowClients: who moves on, or waits for the backend, is not cut, however
// long that takes.
func TestSlowClients(t *testing.T) {
	for name, tc := range map[string]struct {
		request string
		client  func(t *testing.T, c net.Conn) // after the request
		want    string
	}{
		"a byte now and then": {"PUT / HTTP/1.1\r\nHost: f\r\nConnection: close\r\nContent-Length: 60\r\n\r\n", func(t *testing.T, c net.Conn) {
			for range 60 {
				time.Sleep(50 * time.Second)
				_, err := io.WriteString(c, "x")
				require.NoError(t, err)
			}
		}, "got 60"},
		"reads a little now and then": {"GET /known HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n", func(t *testing.T, c net.Conn) {
			for range 60 {
				time.Sleep(50 * time.Second)
				_, err := io.ReadFull(c, make([]byte, 64<<10))
				require.NoError(t, err)
			}
		}, "xxxx"},
		"reads 600 bytes a second": {"GET /known HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n", func(t *testing.T, c net.Conn) {
			for range 1000 {
				time.Sleep(time.Second)
				_, err := io.ReadFull(c, make([]byte, 600))
				require.NoError(t, err)
			}
		}, "xxxx"},
		"long poll":             {"GET /poll HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n", nil, "at last"},
		"long poll with a body": {"POST /poll HTTP/1.1\r\nHost: f\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab", nil, "at last"},
		"events":                {"GET /events HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n", nil, "data: 2"},
		"is talked to":          {"POST /talk HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n", nil, strings.Repeat("5\r\nword \r\n", 20)},
		"between two requests": {"GET / HTTP/1.1\r\nHost: f\r\n\r\n", func(t *testing.T, c net.Conn) {
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			require.NoError(t, err)
			_ = body(t, resp)
			time.Sleep(time.Hour)
			_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n")
			require.NoError(t, err)
		}, "got 0"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStallBench(t, "http")
				s.backend.Timeout = -1
				c := s.http1(tc.request)
				if tc.client != nil {
					tc.client(t, c)
				}
				b, err := io.ReadAll(c)
				require.NoError(t, err)
				require.Contains(t, string(b), tc.want)
				for _, r := range s.rec.all() {
					require.NoError(t, r.Err)
				}
			})
		})
	}
}

// TestBackendsTimeIsNotTheClients: a backend that has begun its answer and waits
// for the rest of a body is not slow, whatever its own limit is.
func TestBackendsTimeIsNotTheClients(t *testing.T) {
	for _, scheme := range []string{"http", "h2c"} {
		for _, pieces := range []int{1, 10} {
			t.Run(fmt.Sprint(scheme, pieces), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newStallBench(t, scheme)
					s.backend.Timeout = 5 * time.Second
					c := s.http1("PUT /early HTTP/1.1\r\nHost: f\r\nConnection: close\r\nContent-Length: 10\r\n\r\n")
					r := bufio.NewReader(c)
					resp, err := http.ReadResponse(r, nil)
					require.NoError(t, err)
					echo := make([]byte, 1)
					for range pieces {
						time.Sleep(20 * time.Second)
						_, err := io.WriteString(c, "x")
						require.NoError(t, err)
						_, err = io.ReadFull(resp.Body, echo)
						require.NoError(t, err)
					}
					rest, err := io.ReadAll(resp.Body)
					synctest.Wait()
					require.Empty(t, rest)
					if pieces == 10 {
						require.NoError(t, err)
						require.NoError(t, s.rec.last(t).Err)
					} else {
						require.Error(t, err)
						s.stalled(499)
					}
				})
			})
		}
	}
}

// TestStalledClientOfSpool: whose body is read before the backend is asked.
func TestStalledClientOfSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStallBench(t, "http")
		s.handler.Transport.(*Transport).Spool = &exchange.Spool{}
		c := s.http1("PUT / HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
		begun := time.Now()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		require.Equal(t, 408, resp.StatusCode)
		_ = body(t, resp)
		require.Equal(t, time.Minute, time.Since(begun))
		s.stalled(408)
		require.Zero(t, s.backend.Stats().Open)
	})
}

// TestStalledClientOfForward: a forward proxy has the same limits.
func TestStalledClientOfForward(t *testing.T) {
	for name, limits := range map[string]*ClientLimits{"default": nil, "shorter": {Timeout: time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStallBench(t, "http")
				f := &Forward{
					Clients: &access.Clients{Access: &access.Access{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, AllowUnix: true}}, Destinations: &access.Destinations{AllowPrivate: true},
					Transports: map[string]http.RoundTripper{"http": s.handler.Transport}, Client: limits, OnRecord: s.rec.add,
				}
				require.NoError(t, f.Validate())
				s.server.Handler = f
				begun := time.Now()
				c := s.http1("PUT http://10.0.0.1/ HTTP/1.1\r\nHost: 10.0.0.1\r\nContent-Length: 10\r\n\r\nhalf")
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				require.NoError(t, err)
				require.Equal(t, 408, resp.StatusCode)
				_ = body(t, resp)
				require.Equal(t, f.handler.limits().timeout(), time.Since(begun))
				s.stalled(408)
			})
		})
	}
}

// TestWritersThatCannotFlush are no clients that have left.
func TestWritersThatCannotFlush(t *testing.T) {
	o := answering(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
	h, _, rec := handlerFor(t, o.url())
	observed := (&Observer{Done: func(*http.Request, *exchange.Record) {}}).Wrap(h)
	for name, h := range map[string]http.Handler{"alone": h, "observed": observed, "limited": new(ClientLimits).Wrap(h)} {
		t.Run(name, func(t *testing.T) {
			front := frontOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(onlyWriter{w}, r) }))
			resp, err := client(t).Get(front.URL)
			require.NoError(t, err)
			require.Equal(t, "ab", body(t, resp))
			require.NoError(t, rec.last(t).Err)
		})
	}
}

// TestLimitsOfClients: what may be set.
func TestLimitsOfClients(t *testing.T) {
	drip := func(each int, pause time.Duration) func(c net.Conn) {
		return func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, strings.Repeat("x", each)); err != nil {
					return
				}
				time.Sleep(pause)
			}
		}
	}
	for name, tc := range map[string]struct {
		limits *ClientLimits
		send   func(c net.Conn)
		size   int
		want   time.Duration // until the 408; 0: it gets through
	}{
		"default":                 {nil, nil, 10, time.Minute},
		"zero":                    {&ClientLimits{}, nil, 10, time.Minute},
		"shorter":                 {&ClientLimits{Timeout: time.Second}, nil, 10, time.Second},
		"none":                    {&ClientLimits{Timeout: -1}, drip(1, time.Hour), 5, 0},
		"all of the body":         {&ClientLimits{BodyTimeout: 20 * time.Second}, drip(1, time.Second), 1000, 20 * time.Second},
		"none, but for the body":  {&ClientLimits{Timeout: -1, BodyTimeout: 90 * time.Second}, nil, 10, 90 * time.Second},
		"body longer than a wait": {&ClientLimits{BodyTimeout: time.Hour}, nil, 10, time.Minute},
		"fast enough":             {&ClientLimits{BodyTimeout: 20 * time.Second, BodyMinRate: 500}, drip(500, time.Second), 100_000, 0},
		"too slow":                {&ClientLimits{BodyTimeout: 20 * time.Second, BodyMinRate: 500}, drip(250, time.Second), 100_000, 40 * time.Second},
		"up to a maximum":         {&ClientLimits{BodyTimeout: 20 * time.Second, BodyMinRate: 500, BodyMaxTimeout: 30 * time.Second}, drip(500, time.Second), 100_000, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStallBench(t, "http")
				s.handler.Client = tc.limits
				c := s.http1(fmt.Sprintf("PUT / HTTP/1.1\r\nHost: f\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", tc.size))
				begun := time.Now()
				var sending sync.WaitGroup
				if tc.send != nil {
					sending.Go(func() { tc.send(c) })
				}
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				require.NoError(t, err)
				_ = body(t, resp)
				if tc.want == 0 {
					require.Equal(t, 200, resp.StatusCode)
				} else {
					require.Equal(t, 408, resp.StatusCode)
					require.InDelta(t, tc.want.Seconds(), time.Since(begun).Seconds(), 2)
				}
				_ = c.Close()
				sending.Wait()
			})
		})
	}
}

// TestServersDeadlinesStay: those of the http.Server are not moved ahead.
func TestServersDeadlinesStay(t *testing.T) {
	for name, tc := range map[string]struct {
		set     func(s *http.Server)
		request string
	}{
		"read":  {func(s *http.Server) { s.ReadTimeout = 10 * time.Second }, "PUT / HTTP/1.1\r\nHost: f\r\nContent-Length: 9\r\n\r\nab"},
		"write": {func(s *http.Server) { s.WriteTimeout = 10 * time.Second }, "GET /long HTTP/1.1\r\nHost: f\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStallBench(t, "http", tc.set)
				_ = s.http1(tc.request)
				time.Sleep(11 * time.Second)
				synctest.Wait()
				require.Len(t, s.rec.all(), 1)
				require.NotErrorIs(t, s.rec.all()[0].Err, exchange.ErrClientStalled)
				require.Zero(t, s.backend.Stats().Busy)
			})
		})
	}
}

// TestStalledClientOfRecorder: a test's ResponseWriter, and a body that nobody
// ends.
func TestStalledClientOfRecorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStallBench(t, "http")
		pr, pw := io.Pipe()
		defer pw.Close()
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", pr))
		require.Equal(t, 408, w.Code)
		s.stalled(408)
		require.Zero(t, s.backend.Stats().Busy)
	})
}

// TestTunnelsHaveLimitsOfTheirOwn: nothing of a client's limits is left behind
// when a connection is switched.
func TestTunnelsHaveLimitsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := newPipes()
		defer origin.Close()
		go func() {
			c, err := origin.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = http.ReadRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			_, _ = io.Copy(c, c)
		}()
		s := newStallBench(t, "http")
		s.backend.DialContext = origin.dial
		s.handler.Client = &ClientLimits{Timeout: time.Second}
		c := s.http1("GET / HTTP/1.1\r\nHost: f\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		require.Equal(t, 101, resp.StatusCode)
		time.Sleep(time.Hour)
		_, err = io.WriteString(c, "still there\n")
		require.NoError(t, err)
		time.Sleep(time.Hour) // and the echo waits to be read
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "still there\n", line)
		_ = c.Close()
	})
}

// TestStalledClientOfSockets: where the kernel moves the body, and over TLS.
func TestStalledClientOfSockets(t *testing.T) {
	for _, path := range []string{"/long", "/known", "TLS"} {
		t.Run(path, func(t *testing.T) {
			origin := httptest.NewServer(http.HandlerFunc(stallOrigin))
			defer origin.Close()
			h, b, rec := handlerFor(t, mustParse(t, origin.URL))
			h.Client = &ClientLimits{Timeout: 100 * time.Millisecond}
			b.MaxConns, b.AcquireTimeout = 2, -1
			front := httptest.NewUnstartedServer(h)
			dial := func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) }
			if path == "TLS" {
				path = "/long"
				front.StartTLS()
				dial = func(addr string) (net.Conn, error) {
					return tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
				}
			} else {
				front.Start()
			}
			t.Cleanup(front.Close)
			var clients []net.Conn
			for range 2 {
				c, err := dial(front.Listener.Addr().String())
				require.NoError(t, err)
				defer c.Close()
				_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: f\r\n\r\n")
				clients = append(clients, c)
			}
			require.Eventually(t, func() bool { return len(rec.all()) == 2 }, 20*time.Second, time.Millisecond)
			for _, r := range rec.all() {
				require.ErrorIs(t, r.Err, exchange.ErrClientStalled)
				require.Equal(t, exchange.StatusClientClosedRequest, r.Status)
			}
			becomesIdle(t, b)
			resp, err := front.Client().Get(front.URL)
			require.NoError(t, err)
			require.Equal(t, "got 0", body(t, resp))
			for _, c := range clients {
				_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
				n, err := io.Copy(io.Discard, c)
				var ne net.Error
				require.False(t, errors.As(err, &ne) && ne.Timeout(), "the connection is open")
				require.Less(t, n, int64(32<<20))
			}
		})
	}
}

// TestBodyTimeoutGrows: no number makes the time for a body less than it was.
func TestBodyTimeoutGrows(t *testing.T) {
	for _, all := range []time.Duration{time.Second, math.MaxInt64} {
		for _, rate := range []int{1, math.MaxInt} {
			for _, received := range []int64{0, 1000, math.MaxInt64} {
				l := &ClientLimits{Timeout: -1, BodyTimeout: all, BodyMinRate: rate}
				require.GreaterOrEqual(t, l.body(0, received), all, "%v %v %v", all, rate, received)
			}
		}
	}
}
