package ftpproxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestSizeLies: an answer whose length is not what was announced never ends
// well.
func TestSizeLies(t *testing.T) {
	for _, size := range []int{100, 500_000} {
		for name, tc := range map[string]struct {
			says  []int // to the first SIZE, and to later ones
			sends int
			fails bool
		}{
			"true":         {[]int{size}, size, false},
			"shorter":      {[]int{size}, size - 1, true},
			"much shorter": {[]int{size}, 10, true},
			"nothing":      {[]int{size}, 0, true},
			"longer":       {[]int{size}, size + 1, true},
			"much longer":  {[]int{size}, 3 * size, true},
			"growing":      {[]int{size, size + 7}, size + 7, false},
			"of empty":     {[]int{0}, size, true},
		} {
			t.Run(fmt.Sprintf("%s %d", name, size), func(t *testing.T) {
				s := startScripted(t)
				var asked atomic.Int32
				s.on["SIZE"] = func(c *scriptedConn, _ string) {
					c.say(fmt.Sprintf("213 %d", tc.says[min(int(asked.Add(1)), len(tc.says))-1]))
				}
				s.on["RETR"] = func(c *scriptedConn, _ string) { c.transfer(strings.Repeat("x", tc.sends), "226 done") }
				front := httptest.NewServer(&proxy.Handler{Target: mustURL(t, "ftp://server.test/"), Transport: s.transport(patience)})
				defer front.Close()
				resp, err := front.Client().Get(front.URL + "/f")
				if tc.fails && err != nil {
					return // broken off before the head was sent
				}
				require.NoError(t, err)
				defer resp.Body.Close()
				text, err := io.ReadAll(resp.Body)
				if !tc.fails {
					require.NoError(t, err)
					require.Equal(t, 200, resp.StatusCode)
					require.Len(t, text, size)
				} else if resp.StatusCode == 200 {
					require.Error(t, err, "the client must see that it is not all")
				} else {
					require.Equal(t, 502, resp.StatusCode)
				}
			})
		}
	}
}

// TestTransferEndsBadly: the last reply counts.
func TestTransferEndsBadly(t *testing.T) {
	long := strings.Repeat("y", 300_000)
	for name, tc := range map[string]struct {
		path string
		size string // reply to SIZE; empty: the true one
		end  func(c *scriptedConn)
		good bool
	}{
		"refused":                      {"/f", "", func(c *scriptedConn) { c.say("426 broken") }, false},
		"refused of unknown length":    {"/f", "500 no", func(c *scriptedConn) { c.say("451 broken") }, false},
		"nothing":                      {"/f", "", func(c *scriptedConn) { _ = c.Close() }, true},
		"nothing after unknown length": {"/f", "500 no", func(c *scriptedConn) { _ = c.Close() }, false},
		"nonsense":                     {"/f", "500 no", func(c *scriptedConn) { c.say("eh?") }, false},
		"listing refused":              {"/d/", "", func(c *scriptedConn) { c.say("426 broken") }, false},
		"listing without end":          {"/d/", "", func(c *scriptedConn) { _ = c.Close() }, false},
		"well":                         {"/f", "500 no", func(c *scriptedConn) { c.say("250 done") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := startScripted(t)
			s.file = long
			s.list = strings.Repeat("-rw-r--r-- 1 u g 1 Jan  1  2024 name\r\n", 3000)
			if tc.size != "" {
				s.on["SIZE"] = func(c *scriptedConn, _ string) { c.say(tc.size) }
			}
			end := func(text string) func(c *scriptedConn, _ string) {
				return func(c *scriptedConn, _ string) {
					c.say("150 coming")
					d := c.accept()
					_, _ = io.WriteString(d, text)
					_ = d.Close()
					tc.end(c)
				}
			}
			s.on["RETR"], s.on["LIST"] = end(s.file), end(s.list)
			resp, text, err := ask(t.Context(), s.transport(patience), "GET", tc.path, nil)
			if tc.good {
				require.NoError(t, err)
				require.Equal(t, long, text)
				return
			}
			require.NotNil(t, resp, "%v", err)
			var e *exchange.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, exchange.OpBody, e.Op)
		})
	}
}

// TestDataConnectionBreaks: as TestSizeLies, by a reset.
func TestDataConnectionBreaks(t *testing.T) {
	for _, length := range []int{1000, 1 << 20} {
		s := startScripted(t)
		s.file = strings.Repeat("z", length)
		s.on["RETR"] = func(c *scriptedConn, _ string) {
			c.say("150 coming")
			d := c.accept()
			_, _ = io.WriteString(d, s.file[:length/2])
			_ = d.(interface{ SetLinger(int) error }).SetLinger(0)
			_ = d.Close()
			c.say("426 broken")
		}
		front := httptest.NewServer(&proxy.Handler{Target: mustURL(t, "ftp://server.test/"), Transport: s.transport(patience)})
		defer front.Close()
		resp, err := front.Client().Get(front.URL + "/f")
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 502 {
				require.Error(t, err)
			}
		}
	}
}

// TestSilentDataConnection: a transfer that stops is ended by the time limit,
// with or without a client that waits.
func TestSilentDataConnection(t *testing.T) {
	for _, length := range []int{1000, 1 << 20} {
		s := startScripted(t)
		s.file = strings.Repeat("z", length)
		s.on["RETR"] = func(c *scriptedConn, _ string) {
			c.say("150 coming")
			d := c.accept()
			defer d.Close()
			_, _ = io.WriteString(d, s.file[:length/2])
			c.hang()
		}
		rt := s.transport(300 * time.Millisecond)
		_, _, err := ask(t.Context(), rt, "GET", "/f", nil)
		require.True(t, exchange.IsTimeout(err), "%v", err)

		front := httptest.NewServer(&proxy.Handler{Target: mustURL(t, "ftp://server.test/"), Transport: rt})
		defer front.Close()
		resp, err := front.Client().Get(front.URL + "/f")
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		require.True(t, err != nil || resp.StatusCode == 504)
		require.Eventually(t, func() bool { return rt.Backend.Stats().Open == 0 }, patience, 10*time.Millisecond)
	}
}

// TestStaleConnection: a kept connection that the server has given up costs a
// new one, not the request.
func TestStaleConnection(t *testing.T) {
	for name, leave := range map[string]func(c *scriptedConn, arg string){
		"closed at the next command":   func(c *scriptedConn, _ string) { _ = c.Close() },
		"timed out at the next one":    func(c *scriptedConn, _ string) { c.say("421 timeout") },
		"timed out and closed at that": func(c *scriptedConn, _ string) { c.say("421 timeout"); _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s := startScripted(t)
			var requests atomic.Int32
			s.on["SIZE"] = func(c *scriptedConn, arg string) {
				if requests.Add(1) == 2 {
					leave(c, arg)
					return
				}
				c.regular("SIZE", arg)
			}
			rt := s.transport(patience)
			for range 2 {
				_, text, err := ask(t.Context(), rt, "GET", "/f", nil)
				require.NoError(t, err)
				require.Equal(t, s.file, text)
			}
			require.EqualValues(t, 2, rt.Backend.Stats().Created)
		})
	}
	t.Run("timed out meanwhile", func(t *testing.T) {
		s := startScripted(t)
		idle := make(chan *scriptedConn, 2)
		s.on["RETR"] = func(c *scriptedConn, arg string) {
			c.regular("RETR", arg)
			idle <- c
		}
		rt := s.transport(patience)
		_, _, err := ask(t.Context(), rt, "GET", "/f", nil)
		require.NoError(t, err)
		c := <-idle
		c.say("421 timeout")
		_ = c.Close()
		_, text, err := ask(t.Context(), rt, "GET", "/f", nil)
		require.NoError(t, err)
		require.Equal(t, s.file, text)
	})
}

// TestRestRefused: without REST a range is answered by all of the file.
func TestRestRefused(t *testing.T) {
	s := startScripted(t)
	s.on["REST"] = func(c *scriptedConn, _ string) { c.say("502 no") }
	rt := s.transport(patience)
	r, err := http.NewRequest("GET", "ftp://server.test/f", nil)
	require.NoError(t, err)
	r.Header.Set("Range", "bytes=3-5")
	resp, err := rt.RoundTrip(r)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, s.file, string(text))

	s = startScripted(t)
	s.features = " SIZE\r\n"
	resp, err = s.transport(patience).RoundTrip(r)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.Empty(t, resp.Header.Get("Accept-Ranges"))
	require.NotContains(t, strings.Join(s.heard(), "\n"), "REST")
}

func TestServerDown(t *testing.T) {
	s := startScripted(t)
	rt := s.transport(patience)
	require.NoError(t, s.listener.Close())
	_, _, err := ask(t.Context(), rt, "GET", "/f", nil)
	require.Equal(t, 503, exchange.StatusOf(err), "%v", err)
	require.True(t, exchange.MayResend(err))
}
