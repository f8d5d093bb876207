package ftpproxy

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

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
				require.Contains(t, []int{502, 503}, exchange.StatusOf(err), "%v", err)
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
				require.Equal(t, tc.status, exchange.StatusOf(err), "%v", err)
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
					require.Equal(t, tc.status, exchange.StatusOf(err), "%v", err)
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

// TestUnaskedReply: a reply too many is not taken for that to the next command.
func TestUnaskedReply(t *testing.T) {
	s := startScripted(t)
	s.on["TYPE"] = func(c *scriptedConn, _ string) { c.say("200 fine\r\n213 3") }
	_, _, err := ask(t.Context(), s.transport(patience), "GET", "/f", nil)
	require.ErrorIs(t, err, exchange.ErrMalformed)
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
