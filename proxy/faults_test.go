package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestBadAnswersAreRefused: each of these answers could be read in two ways,
// or is none at all.
func TestBadAnswersAreRefused(t *testing.T) {
	long := strings.Repeat("a", 20<<10)
	for name, answer := range map[string]string{
		"garbage":                  "hello\r\n\r\n",
		"other protocol":           "HTTX/1.1 200 OK\r\n\r\n",
		"version 2":                "HTTP/2.0 200 OK\r\n\r\n",
		"two digits":               "HTTP/1.1 20 OK\r\n\r\n",
		"four digits":              "HTTP/1.1 2000 OK\r\n\r\n",
		"status below 100":         "HTTP/1.1 099 X\r\n\r\n",
		"NUL in reason":            "HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
		"two empty lines first":    "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"name with a blank":        "HTTP/1.1 200 OK\r\nA b: c\r\nContent-Length: 0\r\n\r\n",
		"blank before the colon":   "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
		"line without a colon":     "HTTP/1.1 200 OK\r\nnothing\r\nContent-Length: 0\r\n\r\n",
		"empty name":               "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n",
		"NUL in value":             "HTTP/1.1 200 OK\r\nA: b\x00c\r\nContent-Length: 0\r\n\r\n",
		"bare CR in value":         "HTTP/1.1 200 OK\r\nA: b\rX: y\r\nContent-Length: 0\r\n\r\n",
		"length and coding":        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"unequal lengths":          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab",
		"unequal lengths in list":  "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nab",
		"negative length":          "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nab",
		"signed length":            "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
		"length with a letter":     "HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nab",
		"huge length":              "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nab",
		"empty length":             "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nab",
		"gzip coding":              "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"two chunked codings":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"unknown coding":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nabc",
		"coding in HTTP/1.0":       "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"line too long":            "HTTP/1.1 200 OK\r\nA: " + long + "\r\nContent-Length: 0\r\n\r\n",
		"status line too long":     "HTTP/1.1 200 " + long + "\r\nContent-Length: 0\r\n\r\n",
		"endless header":           "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: "+long[:8000]+"\r\n", 40) + "\r\n",
		"ten interim answers":      strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 10) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"upgrade nobody asked for": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			o := answering(t, answer)
			h, b, rec := handlerFor(t, o.url())
			front := frontOf(t, h)
			resp, err := client(t).Get(front.URL)
			require.NoError(t, err)
			require.Equal(t, http.StatusBadGateway, resp.StatusCode)
			require.Equal(t, "502 Bad Gateway\n", body(t, resp))
			r := rec.last(t)
			require.ErrorIs(t, r.Err, exchange.ErrMalformed)
			require.False(t, exchange.MayResend(r.Err))
			s := b.Stats()
			require.Zero(t, s.Idle+s.Busy, "the connection must not be kept")
		})
	}
}

// TestOddAnswersPass: unusual, but plain in meaning.
func TestOddAnswersPass(t *testing.T) {
	for name, tc := range map[string]struct {
		answer, want string
		status       int
	}{
		"empty line first":      {"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", "ab", 200},
		"no reason":             {"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nab", "ab", 200},
		"status 999":            {"HTTP/1.1 999 X\r\nContent-Length: 2\r\n\r\nab", "ab", 999},
		"bare LF":               {"HTTP/1.1 200 OK\nContent-Length: 2\n\nab", "ab", 200},
		"folded field":          {"HTTP/1.1 200 OK\r\nA: b\r\n\tc\r\nContent-Length: 2\r\n\r\nab", "ab", 200},
		"equal lengths":         {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", "ab", 200},
		"equal lengths in list": {"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab", "ab", 200},
		"nine interim answers":  {strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 9) + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", "ab", 200},
		"chunks with extension": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n01\r\nb\r\n0\r\n\r\n", "ab", 200},
		"204 with a length":     {"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", "", 204},
	} {
		t.Run(name, func(t *testing.T) {
			o := answering(t, tc.answer)
			h, _, _ := handlerFor(t, o.url())
			front := frontOf(t, h)
			resp, err := client(t).Get(front.URL)
			require.NoError(t, err)
			require.Equal(t, tc.status, resp.StatusCode)
			require.Equal(t, tc.want, body(t, resp))
			if name == "folded field" {
				require.Equal(t, "b c", resp.Header.Get("A"))
			}
		})
	}
}

// TestAnswerCutAtEveryByte: before the head is complete the client gets 502,
// afterwards it sees the cut, and it never takes a part for the whole.
func TestAnswerCutAtEveryByte(t *testing.T) {
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nT: v\r\n\r\n",
		"interim": "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	} {
		t.Run(name, func(t *testing.T) {
			cut := 0
			o := newOrigin(t, func(c *originConn, n int) {
				if _, _, ok := c.request(); ok {
					c.say(answer[:n-1])
				}
			})
			h, b, rec := handlerFor(t, o.url())
			b.DisableReuse = true
			front := frontOf(t, h)
			cl := client(t)
			headEnd := strings.LastIndex(answer, "\r\n\r\n") + 4
			if name == "chunked" {
				headEnd = strings.Index(answer, "\r\n\r\n") + 4
			}
			for cut = 0; cut <= len(answer); cut++ {
				resp, err := cl.Get(front.URL)
				if cut < headEnd {
					require.NoErrorf(t, err, "cut at %d", cut)
					require.Equalf(t, http.StatusBadGateway, resp.StatusCode, "cut at %d", cut)
					_ = resp.Body.Close()
					require.Equal(t, cut == 0, exchange.MayResend(rec.last(t).Err), "cut at %d: %v", cut, rec.last(t).Err)
					continue
				}
				var got []byte
				if err == nil {
					got, err = io.ReadAll(resp.Body)
					_ = resp.Body.Close()
				}
				if cut == len(answer) {
					require.NoErrorf(t, err, "cut at %d", cut)
					require.Equal(t, "hello", string(got))
				} else {
					require.Errorf(t, err, "cut at %d of %q: the client got %q and saw no cut", cut, answer, got)
				}
			}
			require.Zero(t, b.Stats().Busy)
		})
	}
}

// TestReset: the backend resets the connection at different places.
func TestReset(t *testing.T) {
	for name, tc := range map[string]struct {
		before string
		status int
	}{
		"before the head": {"", http.StatusBadGateway},
		"in the head":     {"HTTP/1.1 200 OK\r\nA:", http.StatusBadGateway},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, func(c *originConn, _ int) {
				c.request()
				c.say(tc.before)
				c.reset()
			})
			h, _, _ := handlerFor(t, o.url())
			resp, err := client(t).Get(frontOf(t, h).URL)
			require.NoError(t, err)
			require.Equal(t, tc.status, resp.StatusCode)
			_ = resp.Body.Close()
		})
	}
}

// TestStall: silence is a timeout, wherever it begins.
func TestStall(t *testing.T) {
	for name, before := range map[string]string{
		"no byte":           "",
		"in the head":       "HTTP/1.1 200 OK\r\nA:",
		"after an interim":  "HTTP/1.1 103 Early Hints\r\n\r\n",
		"in a known length": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
		"in a chunk":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, func(c *originConn, _ int) {
				c.request()
				c.say(before)
				c.untilClosed()
			})
			h, b, rec := handlerFor(t, o.url())
			b.Timeout = time.Second // the begin must come within it
			resp, err := client(t).Get(frontOf(t, h).URL)
			if strings.Contains(name, "in a ") {
				require.NoError(t, err)
				got, err := io.ReadAll(resp.Body)
				require.Error(t, err)
				require.Equal(t, "abc", string(got), "what came before the stall was flushed")
				_ = resp.Body.Close()
			} else {
				require.NoError(t, err)
				require.Equal(t, http.StatusGatewayTimeout, resp.StatusCode)
				_ = resp.Body.Close()
			}
			e := rec.last(t).Err
			var pe *exchange.Error
			require.ErrorAs(t, e, &pe)
			require.True(t, pe.Timeout(), "%v", e)
			require.Eventually(t, func() bool { return b.Stats().Open == 0 }, 20*time.Second, time.Millisecond)
		})
	}
}

// TestBytesAfterTheEnd: the answer is fine, the connection is not used again.
func TestBytesAfterTheEnd(t *testing.T) {
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nx",
		"204":     "HTTP/1.1 204 No Content\r\n\r\nab",
		"304":     "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nab",
	} {
		t.Run(name, func(t *testing.T) {
			o := answering(t, answer)
			h, b, _ := handlerFor(t, o.url())
			front := frontOf(t, h)
			for range 2 {
				resp, err := client(t).Get(front.URL)
				require.NoError(t, err)
				require.Less(t, resp.StatusCode, 500)
				_ = body(t, resp)
			}
			require.Equal(t, 2, o.connections())
			require.Zero(t, b.Stats().Reused)
		})
	}
}

// TestLateBytes: bytes that come while the connection is idle are not taken
// for the answer to the next request.
func TestLateBytes(t *testing.T) {
	sent := make(chan struct{})
	o := newOrigin(t, func(c *originConn, n int) {
		for {
			if _, _, ok := c.request(); !ok {
				return
			}
			c.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", n))
			if n == 1 {
				<-sent
				c.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
				sent <- struct{}{}
			}
		}
	})
	h, b, _ := handlerFor(t, o.url())
	front := frontOf(t, h)
	resp, err := client(t).Get(front.URL)
	require.NoError(t, err)
	require.Equal(t, "1", body(t, resp))
	require.Eventually(t, func() bool { return b.Stats().Idle == 1 }, 20*time.Second, time.Millisecond)
	sent <- struct{}{}
	<-sent
	resp, err = client(t).Get(front.URL)
	require.NoError(t, err)
	require.Equal(t, "2", body(t, resp))
}

// TestCannotConnect: 503, and safe to send elsewhere.
func TestCannotConnect(t *testing.T) {
	o := answering(t, "")
	o.close()
	h, _, rec := handlerFor(t, o.url())
	resp, err := client(t).Get(frontOf(t, h).URL)
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	_ = resp.Body.Close()
	e := rec.last(t).Err
	require.True(t, exchange.MayResend(e))
	var pe *exchange.Error
	require.ErrorAs(t, e, &pe)
	require.Equal(t, exchange.OpDial, pe.Op)
	require.Equal(t, o.url().String(), pe.Backend)
}

// TestManyFoldedLines: a backend cannot make us copy a field again and again.
func TestManyFoldedLines(t *testing.T) {
	block := "A: b\r\n" + strings.Repeat(" c\n", 20000) + "D: e\r\n\r\n"
	copies := testing.AllocsPerRun(1, func() {
		h, err := exchange.ParseFields(block, nil)
		require.NoError(t, err)
		require.Equal(t, "b"+strings.Repeat(" c", 20000), h.Get("A"))
		require.Equal(t, "e", h.Get("D"))
	})
	require.Less(t, copies, 1000.0)
}
