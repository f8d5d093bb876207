package ftpproxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// ReplyError is a refusal by the FTP server. It holds no text of the server,
// which may repeat a password.
type ReplyError struct {
	Command string // the verb, such as "RETR"; empty for the greeting
	Code    int    // RFC 959 section 4.2
}

// Error names the command and the code.
func (e *ReplyError) Error() string {
	if e.Command == "" {
		return fmt.Sprintf("ftpproxy: greeting has code %d", e.Code)
	}
	return fmt.Sprintf("ftpproxy: %s was answered with %d", e.Command, e.Code)
}

// phase is how far a request had come when the server refused.
type phase int

const (
	phaseLogin    phase = iota // up to the end of the login
	phasePath                  // finding what the path names
	phaseTransfer              // opening the data connection, and later
	phaseStore                 // of a file that is sent
)

// statusOf is the table from codes of FTP to those of HTTP. Codes that have an
// answer of their own, such as 530 in the login, do not come here.
//
//	550, 551, 553     404; for what is stored, 403
//	530, 532          403
//	452, 552          507 for what is stored
//	421               503
//	425 426 450 451   503 before a transfer, 502 in it
//	other             502
func statusOf(code int, at phase) int {
	switch code {
	case 421:
		return http.StatusServiceUnavailable
	case 530, 532:
		return http.StatusForbidden
	case 550, 551, 553:
		if at == phaseStore {
			return http.StatusForbidden
		}
		if at == phaseLogin {
			return http.StatusBadGateway
		}
		return http.StatusNotFound
	case 452, 552:
		if at == phaseStore {
			return http.StatusInsufficientStorage
		}
	}
	if code >= 400 && code < 500 && at < phaseTransfer {
		return http.StatusServiceUnavailable
	}
	return http.StatusBadGateway
}

// refusal words why a command did not succeed: nil if the server refused by a
// reply, whose code is then in c.code.
func (c *control) refusal(err error) error {
	if c.failure != nil {
		return c.failure
	}
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return nil
	}
	if isConnError(err) || errors.Is(err, exchange.ErrMalformed) {
		return err
	}
	// The library's own words may repeat those of the server.
	return malformed("reply %d to %s", c.code, c.verb)
}

// maxReplyBytes limits one reply of the server, whatever its lines.
const maxReplyBytes = 64 << 10

// parseReplyLine reads "220 text" or "220-text"; a line of three digits is
// taken for one with an empty text.
func parseReplyLine(s string) (code int, last, ok bool) {
	if len(s) < 3 || len(s) > 3 && s[3] != ' ' && s[3] != '-' {
		return 0, false, false
	}
	for _, d := range []byte(s[:3]) {
		if d < '0' || d > '9' {
			return 0, false, false
		}
		code = code*10 + int(d-'0')
	}
	return code, len(s) == 3 || s[3] == ' ', code >= 100
}

// parseFeatures reads the lines of a reply to FEAT (RFC 2389 section 3.2).
func parseFeatures(lines []string) map[string]string {
	list := make(map[string]string)
	for i, l := range lines {
		if i == 0 || i == len(lines)-1 {
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(l), " ")
		list[strings.ToUpper(name)] = value
	}
	return list
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", exchange.ErrMalformed, fmt.Sprintf(format, args...))
}

// isConnError reports whether err is one of a connection, as opposed to a
// reply.
func isConnError(err error) bool {
	var ne net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) || errors.As(err, &ne)
}
