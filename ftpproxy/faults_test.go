package ftpproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
)

// steps are the commands of a request, by what is asked for.
var steps = map[string][]string{
	"GET /f":    {"greeting", "USER", "PASS", "FEAT", "TYPE", "OPTS", "SIZE", "MDTM", "EPSV", "RETR"},
	"HEAD /f":   {"SIZE", "MDTM"},
	"GET /d":    {"PWD", "CWD"},
	"GET /d/":   {"PWD", "CWD", "EPSV", "LIST"},
	"PUT /g":    {"SIZE", "EPSV", "STOR"},
	"DELETE /f": {"SIZE", "MDTM", "DELE"},
}

// eachStep runs a test for each step of each kind of request.
func eachStep(t *testing.T, f func(t *testing.T, s *scripted, method, path, step string)) {
	for request, list := range steps {
		method, path, _ := strings.Cut(request, " ")
		for _, step := range list {
			t.Run(request+" "+step, func(t *testing.T) { f(t, startScripted(t), method, path, step) })
		}
	}
}

func bodyFor(method string) io.Reader {
	if method == "PUT" {
		return strings.NewReader("body")
	}
	return nil
}

func TestServerHangsAtEachStep(t *testing.T) {
	eachStep(t, func(t *testing.T, s *scripted, method, path, step string) {
		t.Parallel()
		s.on[step] = func(c *scriptedConn, _ string) { c.hang() }
		rt := s.transport(200 * time.Millisecond)
		rt.AllowPut, rt.AllowDelete = true, true
		_, _, err := ask(t.Context(), rt, method, path, bodyFor(method))
		require.Error(t, err)
		require.Equal(t, http.StatusGatewayTimeout, proxy.StatusOf(err), "%v", err)
		require.EqualValues(t, 0, rt.Backend.Stats().Open)
	})
}

func TestClientLeavesAtEachStep(t *testing.T) {
	eachStep(t, func(t *testing.T, s *scripted, method, path, step string) {
		t.Parallel()
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		s.on[step] = func(c *scriptedConn, _ string) {
			leave()
			c.hang()
		}
		rt := s.transport(patience)
		rt.AllowPut, rt.AllowDelete = true, true
		begun := time.Now()
		_, _, err := ask(ctx, rt, method, path, bodyFor(method))
		require.ErrorIs(t, err, proxy.ErrClientGone)
		require.Equal(t, proxy.StatusClientClosedRequest, proxy.StatusOf(err))
		require.Less(t, time.Since(begun), patience)
		require.EqualValues(t, 0, rt.Backend.Stats().Open)
	})
}

func TestServerLeavesAtEachStep(t *testing.T) {
	eachStep(t, func(t *testing.T, s *scripted, method, path, step string) {
		t.Parallel()
		s.on[step] = func(c *scriptedConn, _ string) { _ = c.Close() }
		rt := s.transport(patience)
		rt.AllowPut, rt.AllowDelete = true, true
		_, _, err := ask(t.Context(), rt, method, path, bodyFor(method))
		require.Equal(t, http.StatusBadGateway, proxy.StatusOf(err), "%v", err)
		var e *proxy.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "ftp://"+s.listener.Addr().String(), e.Backend)
		require.EqualValues(t, 0, rt.Backend.Stats().Open)
	})
}

// TestRepliesOfNonsense: what is no reply, or too much of one, is an error, and
// never a hang.
func TestRepliesOfNonsense(t *testing.T) {
	for name, reply := range map[string]string{
		"no code":      "hello",
		"letters":      "2x0 hello",
		"low code":     "001 hello",
		"no blank":     "220hello",
		"long line":    "220 " + strings.Repeat("x", 1<<20),
		"long reply":   "220-begin\r\n" + strings.Repeat(" more of it\r\n", 1<<16) + "220 end",
		"unasked for":  "200 one\r\n200 two\r\n200 three",
		"NUL":          "\x00\x00\x00\x00",
		"bare newline": "\n\n\n",
	} {
		for _, step := range []string{"greeting", "USER", "FEAT", "TYPE", "SIZE", "EPSV", "RETR", "CWD"} {
			t.Run(name+" at "+step, func(t *testing.T) {
				t.Parallel()
				s := startScripted(t)
				s.on[step] = func(c *scriptedConn, _ string) { c.say(reply) }
				path := "/f"
				if step == "CWD" {
					path = "/d/"
				}
				_, _, err := ask(t.Context(), s.transport(patience), "GET", path, nil)
				require.Error(t, err)
				require.Contains(t, []int{502, 503}, proxy.StatusOf(err), "%v", err)
				require.NotContains(t, err.Error(), "hello")
			})
		}
	}
}

// TestRepliesOfSeveralLines: RFC 959 section 4.2.
func TestRepliesOfSeveralLines(t *testing.T) {
	s := startScripted(t)
	s.on["greeting"] = func(c *scriptedConn, _ string) { c.say("220-hello\r\n221 not the end\r\n\r\n  220 neither\r\n220 end") }
	s.on["PASS"] = func(c *scriptedConn, _ string) { c.say("230-Welcome <b>\r\n230-second & last\r\n230 in") }
	s.on["SIZE"] = func(c *scriptedConn, _ string) { c.say("213 8") }
	s.on["TYPE"] = func(c *scriptedConn, _ string) { c.say("200") } // without a text
	s.on["CWD"] = func(c *scriptedConn, _ string) { c.say("250-Read <this>\r\nand this\r\n250 done") }
	rt := s.transport(patience)
	_, text, err := ask(t.Context(), rt, "GET", "/f", nil)
	require.NoError(t, err)
	require.Equal(t, s.file, text)
	_, text, err = ask(t.Context(), rt, "GET", "/", nil)
	require.NoError(t, err)
	require.Contains(t, text, "<pre>\nWelcome &lt;b&gt;\nsecond &amp; last\n</pre>")
	_, text, err = ask(t.Context(), rt, "GET", "/d/", nil)
	require.NoError(t, err)
	require.Contains(t, text, "<pre>\nRead &lt;this&gt;\nand this\n</pre>")
	require.EqualValues(t, 1, rt.Backend.Stats().Created)
}

// TestCodes holds the table from codes to statuses.
func TestCodes(t *testing.T) {
	for _, tc := range []struct {
		path, step string
		code       int
		status     int
	}{
		{"/f", "greeting", 421, 503}, {"/f", "greeting", 500, 503}, {"/f", "greeting", 120, 503},
		{"/f", "USER", 530, 401}, {"/f", "PASS", 530, 401}, {"/f", "PASS", 332, 401}, {"/f", "PASS", 421, 503}, {"/f", "PASS", 550, 502}, {"/f", "USER", 500, 502},
		{"/f", "TYPE", 421, 503}, {"/f", "TYPE", 500, 502}, {"/f", "OPTS", 500, 200}, {"/f", "FEAT", 500, 200},
		{"/f", "SIZE", 421, 503}, {"/f", "SIZE", 450, 503}, {"/f", "SIZE", 500, 200}, {"/f", "SIZE", 550, 404}, {"/f", "SIZE", 530, 403},
		{"/f", "MDTM", 550, 200}, {"/f", "MDTM", 421, 503},
		{"/f", "RETR", 550, 404}, {"/f", "RETR", 425, 502}, {"/f", "RETR", 426, 502}, {"/f", "RETR", 450, 502}, {"/f", "RETR", 451, 502}, {"/f", "RETR", 421, 503}, {"/f", "RETR", 530, 403}, {"/f", "RETR", 500, 502},
		{"/d", "CWD", 550, 404}, {"/d/", "CWD", 421, 503}, {"/d/", "CWD", 550, 404}, {"/d/", "CWD", 450, 503}, {"/d/", "CWD", 530, 403}, {"/d/", "CWD", 500, 502},
		{"/d/", "PWD", 500, 200}, {"/d/", "LIST", 550, 403}, {"/d/", "LIST", 450, 200}, {"/d/", "LIST", 226, 200}, {"/d/", "LIST", 425, 502}, {"/d/", "LIST", 421, 503},
		{"/f", "EPSV", 500, 502}, {"/f", "EPSV", 421, 502},
	} {
		t.Run(fmt.Sprintf("%s %s %d", tc.path, tc.step, tc.code), func(t *testing.T) {
			t.Parallel()
			s := startScripted(t)
			s.on[tc.step] = func(c *scriptedConn, _ string) { c.say(fmt.Sprintf("%d so be it", tc.code)) }
			resp, _, err := ask(t.Context(), s.transport(patience), "GET", tc.path, nil)
			if err != nil {
				var reply *ReplyError
				require.ErrorAs(t, err, &reply)
				require.Equal(t, tc.status, proxy.StatusOf(err), "%v", err)
				return
			}
			require.Equal(t, tc.status, resp.StatusCode)
		})
	}
}

func TestCodesOfUploads(t *testing.T) {
	for _, tc := range []struct {
		method, step string
		code, status int
	}{
		{"PUT", "STOR", 550, 403}, {"PUT", "STOR", 553, 403}, {"PUT", "STOR", 552, 507}, {"PUT", "STOR", 452, 507}, {"PUT", "STOR", 451, 502}, {"PUT", "STOR", 532, 403},
		{"DELETE", "DELE", 550, 403}, {"DELETE", "DELE", 450, 503}, {"DELETE", "DELE", 500, 502},
	} {
		for _, late := range []bool{false, true} {
			if late && tc.method == "DELETE" {
				continue
			}
			t.Run(fmt.Sprintf("%s %d late %v", tc.step, tc.code, late), func(t *testing.T) {
				s := startScripted(t)
				s.on[tc.step] = func(c *scriptedConn, _ string) {
					if late {
						c.say("150 send")
						d := c.accept()
						_, _ = io.CopyN(io.Discard, d, 1000)
						_ = d.Close()
					}
					c.say(fmt.Sprintf("%d so be it", tc.code))
				}
				rt := s.transport(patience)
				rt.AllowPut, rt.AllowDelete = true, true
				path := map[string]string{"PUT": "/g", "DELETE": "/f"}[tc.method]
				resp, _, err := ask(t.Context(), rt, tc.method, path, bytes.NewReader(make([]byte, 1<<20)))
				if err != nil {
					require.Equal(t, tc.status, proxy.StatusOf(err), "%v", err)
				} else {
					require.Equal(t, tc.status, resp.StatusCode)
				}
				if late {
					require.Contains(t, s.heard(), "DELE g", "what was begun is taken away")
				}
			})
		}
	}
}

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
			var e *proxy.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, proxy.OpBody, e.Op)
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
		require.True(t, proxy.IsTimeout(err), "%v", err)

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

// TestClientLeavesInTheMiddle: nothing is left behind.
func TestClientLeavesInTheMiddle(t *testing.T) {
	for _, path := range []string{"/f", "/d/"} {
		s := startScripted(t)
		hang := func(c *scriptedConn, _ string) {
			c.say("150 coming")
			d := c.accept()
			defer d.Close()
			_, _ = io.WriteString(d, strings.Repeat("-rw-r--r-- 1 u g 1 Jan  1  2024 name\r\n", 20000))
			_, _ = io.Copy(io.Discard, d) // until it is closed
			c.hang()
		}
		s.file = strings.Repeat("z", 10<<20)
		s.on["RETR"], s.on["LIST"] = hang, hang
		rt := s.transport(patience)

		ctx, leave := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, "GET", "ftp://server.test"+path, nil)
		require.NoError(t, err)
		resp, err := rt.RoundTrip(r)
		require.NoError(t, err)
		_, err = io.CopyN(io.Discard, resp.Body, 10_000)
		require.NoError(t, err)
		time.AfterFunc(time.Millisecond, leave)
		_, err = io.Copy(io.Discard, resp.Body)
		require.ErrorIs(t, err, proxy.ErrClientGone)
		require.NoError(t, resp.Body.Close())
		require.EqualValues(t, 0, rt.Backend.Stats().Open)

		// Closing the body from elsewhere ends a read, too.
		resp, err = rt.RoundTrip(r.WithContext(t.Context()))
		require.NoError(t, err)
		go func() { _ = resp.Body.Close() }()
		_, err = io.Copy(io.Discard, resp.Body)
		require.Error(t, err)
		require.Eventually(t, func() bool { return rt.Backend.Stats().Open == 0 }, patience, time.Millisecond)
	}
}

// TestForeignPassiveAddress: data connections go to the server's own address.
func TestForeignPassiveAddress(t *testing.T) {
	s := startScripted(t)
	s.on["EPSV"] = func(c *scriptedConn, _ string) { c.say("500 what?") }
	s.on["PASV"] = func(c *scriptedConn, _ string) {
		port := c.listen()
		c.say(fmt.Sprintf("227 there (203,0,113,9,%d,%d)", port>>8, port&255))
	}
	rt := s.transport(patience)
	for range 2 {
		_, text, err := ask(t.Context(), rt, "GET", "/f", nil)
		require.NoError(t, err)
		require.Equal(t, s.file, text)
	}
}

func TestBadPorts(t *testing.T) {
	for _, reply := range []string{
		"229 (|||0|)", "229 (|||65536|)", "229 (|||-1|)", "229 (|||abc|)", "229 nothing", "229 (||||)", "229 (|||1e3|)",
	} {
		s := startScripted(t)
		s.on["EPSV"] = func(c *scriptedConn, _ string) { c.say(reply) }
		_, _, err := ask(t.Context(), s.transport(patience), "GET", "/f", nil)
		require.Equal(t, 502, proxy.StatusOf(err), "%s: %v", reply, err)
	}
	for _, reply := range []string{"227 (127,0,0,1,0,0)", "227 (127,0,0,1,300,1)", "227 (127,0,0,1,1)", "227 nothing", "227 )(", "227 (a,b,c,d,e,f)", "227 (127,0,0,1,-1,255)"} {
		s := startScripted(t)
		s.on["EPSV"] = func(c *scriptedConn, _ string) { c.say("500 no") }
		s.on["PASV"] = func(c *scriptedConn, _ string) { c.say(reply) }
		_, _, err := ask(t.Context(), s.transport(patience), "GET", "/f", nil)
		require.Equal(t, 502, proxy.StatusOf(err), "%s: %v", reply, err)
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

// TestNoSecretsInErrors: a server that repeats passwords does not get them into
// errors, logs or answers.
func TestNoSecretsInErrors(t *testing.T) {
	const secret = "hunter2"
	for _, step := range []string{"greeting", "USER", "PASS", "FEAT", "TYPE", "OPTS", "SIZE", "MDTM", "EPSV", "RETR"} {
		for _, reply := range []string{"500 " + secret, "421 " + secret, "530 " + secret, secret, "229 (|||" + secret + "|)"} {
			s := startScripted(t)
			s.on[step] = func(c *scriptedConn, _ string) { c.say(reply) }
			var log bytes.Buffer
			h := &proxy.Handler{Target: mustURL(t, "ftp://server.test/"), Transport: s.transport(patience), Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: proxy.LevelTrace4}))}
			w := httptest.NewRecorder()
			r := httptest.NewRequest("GET", "/f", nil)
			r.SetBasicAuth("ann", secret)
			r.Header.Del("Cookie")
			h.ServeHTTP(w, r)
			require.NotContains(t, w.Body.String(), secret)
			require.NotContains(t, log.String(), secret, "%s %s", step, reply)
			require.NotContains(t, log.String(), r.Header.Get("Authorization")[6:])
		}
	}
	_, err := NewHandler("/", "ftp://ann:"+secret+"@%zz/")
	require.Error(t, err)
	require.NotContains(t, err.Error(), secret)
	_, err = NewHandler("/", "http://ann:"+secret+"@host/")
	require.Error(t, err)
	require.NotContains(t, err.Error(), secret)
}

// TestNothingIsSent: a request that is refused for its form costs no
// connection.
func TestNothingIsSent(t *testing.T) {
	s := startScripted(t)
	rt := s.transport(patience)
	for _, u := range []string{
		"ftp://server.test/a%0d%0aDELE%20f", "ftp://us%0aer:p@server.test/f", "ftp://user:p%0d%0aDELE%20f@server.test/f", "ftp://user:p%00@server.test/f",
		"ftp://server.test/..", "ftp://server.test/../f", "ftp://server.test/%2e%2e/f", "ftp://server.test/./f", "ftp://server.test/a%2f..%2ff",
	} {
		r, err := http.NewRequest("GET", u, nil)
		require.NoError(t, err)
		_, err = rt.RoundTrip(r)
		require.Equal(t, 400, proxy.StatusOf(err), "%s: %v", u, err)
	}
	r, err := http.NewRequest("GET", "http://server.test/f", nil)
	require.NoError(t, err)
	_, err = rt.RoundTrip(r)
	require.Equal(t, 500, proxy.StatusOf(err))
	require.Empty(t, s.heard())
	require.EqualValues(t, 0, rt.Backend.Stats().Created)
}

func TestServerDown(t *testing.T) {
	s := startScripted(t)
	rt := s.transport(patience)
	require.NoError(t, s.listener.Close())
	_, _, err := ask(t.Context(), rt, "GET", "/f", nil)
	require.Equal(t, 503, proxy.StatusOf(err), "%v", err)
	require.True(t, proxy.MayResend(err))
}

// TestDataPortClosed: a port at which nobody listens.
func TestDataPortClosed(t *testing.T) {
	s := startScripted(t)
	s.on["EPSV"] = func(c *scriptedConn, _ string) {
		port := c.listen()
		_ = c.data.Close()
		c.say(fmt.Sprintf("229 (|||%d|)", port))
	}
	_, _, err := ask(t.Context(), s.transport(patience), "GET", "/f", nil)
	require.Equal(t, 502, proxy.StatusOf(err), "%v", err)
	require.ErrorContains(t, err, "data connection")
}

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
	require.ErrorIs(t, err, proxy.ErrMalformed)
	require.Equal(t, 502, proxy.StatusOf(err))
}

// TestUploadBrokenOff: the server must not take a part for the whole.
func TestUploadBrokenOff(t *testing.T) {
	s := startScripted(t)
	rt := s.transport(patience)
	rt.AllowPut = true
	broken := errors.New("broken off")
	_, _, err := ask(t.Context(), rt, "PUT", "/g", io.MultiReader(strings.NewReader(strings.Repeat("x", 100_000)), &failing{broken}))
	require.ErrorIs(t, err, broken)
	var e *proxy.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, proxy.OpClient, e.Op)
	require.Contains(t, s.heard(), "DELE g")
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// TestClientLeavesUpload: what was stored is taken away by a control connection
// that outlives the client.
func TestClientLeavesUpload(t *testing.T) {
	s := startScripted(t)
	rt := s.transport(patience)
	rt.AllowPut = true
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	pr, pw := io.Pipe()
	go func() {
		_, _ = pw.Write(make([]byte, 100_000))
		leave()
	}()
	_, _, err := ask(ctx, rt, "PUT", "/g", pr)
	require.ErrorIs(t, err, proxy.ErrClientGone)
	require.Contains(t, s.heard(), "DELE g")
	require.EqualValues(t, 0, rt.Backend.Stats().Open)
}

// TestUnaskedReply: a reply too many is not taken for that to the next command.
func TestUnaskedReply(t *testing.T) {
	s := startScripted(t)
	s.on["TYPE"] = func(c *scriptedConn, _ string) { c.say("200 fine\r\n213 3") }
	_, _, err := ask(t.Context(), s.transport(patience), "GET", "/f", nil)
	require.ErrorIs(t, err, proxy.ErrMalformed)
	require.ErrorContains(t, err, "nobody had asked")

	s = startScripted(t)
	s.on["RETR"] = func(c *scriptedConn, _ string) { c.transfer(s.file, "226 done\r\n213 3") }
	rt := s.transport(patience)
	for range 2 {
		_, text, err := ask(t.Context(), rt, "GET", "/f", nil)
		require.NoError(t, err)
		require.Equal(t, s.file, text)
	}
	require.EqualValues(t, 2, rt.Backend.Stats().Created)
}
