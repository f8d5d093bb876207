package ftpproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// control is the control connection as the FTP library sees it: a net.Conn
// that hands out one line of a reply at a time. So it knows where each reply
// ends (RFC 959 section 4.2), what it was, and whether one came unasked; it
// limits what is read, and renews the time limit for each reply, not for each
// line of one.
type control struct {
	conn *backend.Conn
	tls  *tls.Conn // nil if none is spoken
	r    *bufio.Reader

	pending []byte // of the line that is being handed out
	verb    string // of the last command
	code    int    // of the last reply, or of the one being read
	open    bool   // a reply of several lines is being read
	size    int    // bytes of the reply being read
	lines   []string
	wait    time.Duration // in place of the backend's Timeout; 0 means that
	hold    bool          // see holdFinal
	heard   bool          // a byte came since begin
	failure error         // of reading or writing; the first one

	features map[string]string // by name in upper case, from FEAT
	welcome  []string          // lines of the reply to the login
}

func newControl(c *backend.Conn) *control { return &control{conn: c, r: c.R} }

// begin is called before each use of the connection.
func (c *control) begin() { c.heard, c.failure, c.wait = false, nil, 0 }

// handshake turns the connection into one of TLS.
func (c *control) handshake(ctx context.Context, cfg *tls.Config) error {
	if c.r.Buffered() > 0 {
		return malformed("bytes before the TLS handshake") // whoever put them there wants them to be taken for the server's
	}
	c.conn.Arm(c.wait)
	tc := tls.Client(c.conn, cfg)
	if err := backend.Handshake(ctx, tc); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	c.tls = tc
	c.r = bufio.NewReaderSize(tc, 4096)
	return nil
}

// Write sends a command, or a part of one.
func (c *control) Write(p []byte) (int, error) {
	if c.failure != nil {
		return 0, c.failure
	}
	if c.r.Buffered() > 0 || len(c.pending) > 0 {
		return 0, c.fail(malformed("a reply came that nobody had asked for"))
	}
	c.conn.Arm(c.wait)
	verb, _, _ := strings.Cut(string(p), " ")
	c.verb = strings.TrimRight(verb, "\r\n")
	w := io.Writer(c.conn)
	if c.tls != nil {
		w = c.tls
	}
	n, err := w.Write(p)
	return n, c.fail(err)
}

// Read hands out the rest of the current line, or the next one.
func (c *control) Read(p []byte) (int, error) {
	if len(c.pending) == 0 {
		if c.failure != nil {
			return 0, c.failure
		}
		if err := c.line(); err != nil {
			return 0, c.fail(err)
		}
	}
	n := copy(p, c.pending)
	c.pending = c.pending[n:]
	return n, nil
}

func (c *control) fail(err error) error {
	if c.failure == nil {
		c.failure = err
	}
	return err
}

// holdFinal makes the library believe that the next transfer ended as soon as
// it has begun: its end is then read by [control.reply]. The library would read
// all of a listing before it returned.
func (c *control) holdFinal() { c.hold = true }

// line reads the next line and notes what it means.
func (c *control) line() error {
	if c.hold && !c.open && c.code >= 100 && c.code < 200 {
		c.hold = false
		c.pending = []byte("226 \r\n")
		return nil
	}
	if !c.open {
		c.conn.Arm(c.wait)
	}
	raw, err := c.r.ReadSlice('\n')
	if len(raw) > 0 {
		c.heard = true
	}
	switch {
	case err == bufio.ErrBufferFull:
		return malformed("line of a reply exceeds %d bytes", len(raw))
	case err == io.EOF && (len(raw) > 0 || c.open):
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	}
	text := strings.TrimRight(string(raw), "\r\n")
	if err := c.note(text); err != nil {
		return err
	}
	if len(text) == 3 {
		text += " " // the library wants the blank
	}
	c.pending = append(c.pending[:0], text...)
	c.pending = append(c.pending, "\r\n"...)
	return nil
}

// note takes a line as the next of a reply.
func (c *control) note(text string) error {
	code, last, ok := parseReplyLine(text)
	if !c.open {
		if !ok {
			return malformed("reply without a code")
		}
		c.code, c.size, c.lines = code, 0, c.lines[:0]
	}
	if c.size += len(text) + 2; c.size > maxReplyBytes {
		return malformed("reply exceeds %d bytes", maxReplyBytes)
	}
	switch {
	case !c.open:
		c.lines = append(c.lines, strings.TrimSpace(text[3:]))
		c.open = !last
		if c.open {
			c.lines[0] = strings.TrimSpace(text[4:])
		}
	case ok && last && code == c.code:
		c.lines = append(c.lines, strings.TrimSpace(text[3:]))
		c.open = false
	default:
		c.lines = append(c.lines, strings.TrimPrefix(text, fmt.Sprintf("%d-", c.code)))
	}
	if c.open {
		return nil
	}
	return c.remember()
}

// remember keeps what later commands need of a reply, and refuses one at which
// the library would panic.
func (c *control) remember() error {
	all := strings.Join(c.lines, "\n")
	switch {
	case c.verb == "PASV" && strings.LastIndexByte(all, ')') < strings.IndexByte(all, '('):
		return malformed("reply to PASV")
	case c.verb == "PWD" && c.code == 257 && strings.Count(all, `"`) == 1:
		return malformed("reply to PWD")
	case c.verb == "FEAT" && c.code == 211:
		c.features = parseFeatures(c.lines)
	case c.code == 230 && (c.verb == "USER" || c.verb == "PASS"):
		c.welcome = append([]string(nil), c.lines...)
	}
	return nil
}

// has reports whether the server has told of a feature.
func (c *control) has(feature string) bool {
	_, ok := c.features[feature]
	return ok
}

// command sends a command that the library has no method for, and reads the
// reply.
func (c *control) command(text string) error {
	if _, err := c.Write([]byte(text + "\r\n")); err != nil {
		return err
	}
	return c.reply()
}

// reply reads a whole reply past the library; c.code says which it was.
func (c *control) reply() error {
	c.hold = false
	for first := true; first || c.open; first = false {
		if c.failure != nil {
			return c.failure
		}
		if err := c.line(); err != nil {
			return c.fail(err)
		}
	}
	c.pending = c.pending[:0]
	return nil
}

// clean reports whether the connection is between a reply and a command.
func (c *control) clean() bool {
	return c.failure == nil && !c.open && len(c.pending) == 0 && c.r.Buffered() == 0
}

// Close does nothing: who has the connection releases it.
func (c *control) Close() error { return nil }

// LocalAddr is that of the connection.
func (c *control) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr is a TCP address, as the library wants it. What is dialled for
// data is not taken from it.
func (c *control) RemoteAddr() net.Addr {
	if a, ok := c.conn.RemoteAddr().(*net.TCPAddr); ok {
		return a
	}
	return &net.TCPAddr{IP: net.IPv4zero}
}

// The time limits are set with each reply.
func (c *control) SetDeadline(time.Time) error      { return nil }
func (c *control) SetReadDeadline(time.Time) error  { return nil }
func (c *control) SetWriteDeadline(time.Time) error { return nil }
