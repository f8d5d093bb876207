package exchangetest

import (
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// Protocol is what the checks have to know of a protocol and its transport.
type Protocol struct {
	// URL is what is asked for: a scheme, a host and maybe a path, without a
	// slash at its end. Each request appends a segment of its own.
	URL string

	// Transport makes the transport. Its connections come from b alone, or, if
	// it has a pool of its own, from b.DialContext, and its time limits are
	// those of b. If it has a method CloseIdleConnections, that is called at the
	// end of each check.
	Transport func(b *backend.Backend) http.RoundTripper

	// Server makes the backend's end of a connection.
	Server func(c net.Conn) Server

	// Second, if not nil, is given the backend's end of a connection to another
	// address than that of URL, as FTP has them for data.
	Second func(addr string, c net.Conn)

	// Upload is the method of requests that have a body. Empty means POST.
	Upload string

	// Single says that a connection carries one request and ends with its answer,
	// so that it is never used again. Checks of connections that are used again are
	// then left out.
	Single bool

	// Undo is how long the transport may take to take back what was stored by an
	// upload whose client has left, or whose time is over, from a backend that
	// does nothing more.
	Undo time.Duration

	// Lacks names the checks that make no sense for the protocol, each with the
	// reason, which is logged.
	Lacks map[string]string

	names string // another than the backend that errors may name
}

// Server is the backend's end of a connection. One goroutine at a time calls its
// methods. If it is an io.Closer, it is closed when the connection is.
type Server interface {
	// ReadRequest reads a request up to its body, after whatever goes before it
	// in the protocol, such as a login. What it returns has the Method, a URL
	// whose last segment is that of the transport's request, and a Body.
	ReadRequest() (*http.Request, error)

	// WriteHead writes the head of the final answer in one piece. Without a
	// Content-Length, the length of the body is not known yet. Fields that the
	// protocol does not carry are left out.
	WriteHead(status int, header http.Header) error

	// WriteBody writes a part of the body of the answer. It is not called where
	// HTTP has no body.
	WriteBody(p []byte) error

	// WriteEnd ends the answer. The connection is then ready for another request.
	WriteEnd() error
}

// InterimServer is a [Server] of a protocol that has interim answers (1xx).
type InterimServer interface {
	Server
	WriteInterim(status int, header http.Header) error
}

// UpgradeServer is a [Server] of a protocol in which a connection can be given
// over to another: the request has Upgrade and Connection fields.
type UpgradeServer interface {
	Server
	// WriteUpgrade writes the answer 101, and returns what is the connection
	// from now on.
	WriteUpgrade(header http.Header) (io.ReadWriter, error)
}

// check is one row of the table.
type check struct {
	name   string
	run    func(k *kit)
	lonely bool // over TCP, in real time
	reuses bool // makes no sense where no connection is used again
}

// TestTransport runs all checks, each as a subtest.
func TestTransport(t *testing.T, p Protocol) {
	all := checks()
	for name := range p.Lacks {
		if !slices.ContainsFunc(all, func(c check) bool { return c.name == name }) {
			t.Errorf("there is no check %q that could be lacking", name)
		}
	}
	for _, c := range all {
		why, lacks := p.Lacks[c.name]
		if lacks {
			t.Logf("not checked: %s: %s", c.name, why)
			continue
		}
		if c.reuses && p.Single {
			t.Logf("not checked: %s: no connection is used again", c.name)
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			err := runCheck(t, p, c)
			if n, ok := err.(notHere); ok {
				t.Logf("not checked: %s", n)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// runCheck runs one, and returns what it has found.
func runCheck(t *testing.T, p Protocol, c check) (err error) {
	if c.lonely {
		return newKit(p, true).run(c)
	}
	synctest.Test(t, func(*testing.T) { err = newKit(p, false).run(c) })
	return err
}

// checks are in the order of need: who fails the first fails many.
func checks() []check {
	all := []check{{name: "whole answers", run: wholeAnswers}}
	all = append(all, failureChecks()...)
	all = append(all, answerChecks()...)
	return append(all, poolChecks()...)
}
