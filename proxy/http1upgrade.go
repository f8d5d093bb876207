package proxy

import (
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// upgrade makes the answer 101 one whose body is the connection.
func (x *attempt) upgrade() *exchange.Error {
	asked := x.r.Header["Upgrade"]
	got := x.resp.Header["Upgrade"]
	if len(asked) == 0 || len(got) == 0 || !httpguts.HeaderValuesContainsToken(asked, got[0]) {
		return &exchange.Error{Op: exchange.OpUpgrade, Err: exchange.Malformed("unexpected upgrade")}
	}
	if x.waits || x.sender != nil && !x.sender.Finished() {
		return &exchange.Error{Op: exchange.OpUpgrade, Err: exchange.Malformed("upgrade before the end of the request")}
	}
	if !x.t.watcher.Remove(&x.watch) {
		return &exchange.Error{Op: exchange.OpClient, Status: exchange.StatusClientClosedRequest, Err: exchange.ErrClientGone}
	}
	x.freed = true
	c := x.c
	c.Arm(-1)
	_ = c.SetDeadline(time.Time{})
	x.resp.Body = &upgradedConn{c: c, closed: c.Detach()}
	x.resp.ContentLength = 0
	return nil
}
