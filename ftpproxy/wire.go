package ftpproxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"

	"github.com/modproxy/modproxy/proxy"
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
	if isConnError(err) || errors.Is(err, proxy.ErrMalformed) {
		return err
	}
	// The library's own words may repeat those of the server.
	return malformed("reply %d to %s", c.code, c.verb)
}
