package proxy

import (
	"time"

	"golang.org/x/net/http/httpguts"
)

// upgrade makes the answer 101 one whose body is the connection.
func (x *attempt) upgrade() *Error {
	asked := x.r.Header["Upgrade"]
	got := x.resp.Header["Upgrade"]
	if len(asked) == 0 || len(got) == 0 || !httpguts.HeaderValuesContainsToken(asked, got[0]) {
		return &Error{Op: OpUpgrade, Err: malformed("unexpected upgrade")}
	}
	if x.waits || x.sender != nil && !x.sender.Finished() {
		return &Error{Op: OpUpgrade, Err: malformed("upgrade before the end of the request")}
	}
	if !x.t.watcher.Remove(&x.watch) {
		return &Error{Op: OpClient, Status: StatusClientClosedRequest, Err: ErrClientGone}
	}
	x.freed = true
	c := x.c
	c.Arm(-1)
	_ = c.SetDeadline(time.Time{})
	x.resp.Body = &upgradedConn{c: c, closed: c.Detach()}
	x.resp.ContentLength = 0
	return nil
}
