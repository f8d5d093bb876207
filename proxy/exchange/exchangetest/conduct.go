package exchangetest

import (
	"io"
	"net/http"
	"strings"
)

// What backends do with a request.

// answersWhole takes a request and answers it as it should.
func answersWhole(k *kit, c *farConn, r *http.Request) bool { return answersWith(true)(k, c, r) }

// answersWith does, and tells the length of the body first, or not.
func answersWith(length bool) conduct {
	return func(k *kit, c *farConn, r *http.Request) bool {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return k.shares()
		}
		if c.head(r, length) != nil {
			return false
		}
		if r.Method != http.MethodHead && c.body(r, 0, BodySize) != nil {
			return false
		}
		return c.s.WriteEnd() == nil
	}
}

// answersEmpty answers with a status that has no content.
func answersEmpty(status int) conduct {
	return func(k *kit, c *farConn, r *http.Request) bool {
		return beforeHead(c, r) == nil && c.s.WriteHead(status, http.Header{"X-Name": {"empty"}}) == nil && c.s.WriteEnd() == nil
	}
}

// A place in an exchange is where a backend begins to misbehave. It is reached
// when nothing of what comes after has been sent.
type place func(c *farConn, r *http.Request) error

// inUpload is before the body of the request was read, but for its first bytes.
func inUpload(_ *farConn, r *http.Request) error {
	_, err := io.ReadFull(r.Body, make([]byte, 1))
	return err
}

// beforeHead is when the request is read.
func beforeHead(_ *farConn, r *http.Request) error {
	_, err := io.Copy(io.Discard, r.Body)
	return err
}

// inHead is in the middle of the head of the answer.
func inHead(c *farConn, r *http.Request) error {
	if err := beforeHead(c, r); err != nil {
		return err
	}
	return c.half(func() error { return c.head(r, true) })
}

// inBody is in the middle of the body of the answer, whose length was told.
func inBody(c *farConn, r *http.Request) error { return inBodyWith(c, r, true) }

// inUnknownBody is the same with a length that was not.
func inUnknownBody(c *farConn, r *http.Request) error { return inBodyWith(c, r, false) }

func inBodyWith(c *farConn, r *http.Request, length bool) error {
	if err := beforeHead(c, r); err != nil {
		return err
	}
	if err := c.head(r, length); err != nil {
		return err
	}
	return c.body(r, 0, BodySize/2)
}

// closesAt closes the connection there.
func closesAt(at place) conduct {
	return func(k *kit, c *farConn, r *http.Request) bool {
		_ = at(c, r)
		k.at()
		return false
	}
}

// stallsAt does nothing any more, and reads nothing.
func stallsAt(at place) conduct {
	return func(k *kit, c *farConn, r *http.Request) bool {
		if at(c, r) == nil {
			k.at()
		}
		return k.stall(c)
	}
}

// stall waits for the end of the connection, or for the next part of the check.
// It reports whether there may be other exchanges that share the connection.
func (k *kit) stall(c *farConn) (goesOn bool) {
	select {
	case <-c.near.closed:
	case <-k.on:
	case <-k.quit:
	}
	return k.shares() && !c.torn
}

// talksNonsense sends what can be no answer, with an empty line at its end.
func talksNonsense(k *kit, c *farConn, r *http.Request) bool {
	if beforeHead(c, r) == nil {
		_, _ = io.WriteString(c.Conn, strings.Repeat("\xff", 600)+"\n\r\n")
		k.stall(c)
	}
	return false
}
