package ftpproxy

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jlaffaye/ftp"

	"github.com/modproxy/modproxy/proxy/backend"
)

// session is a control connection on which somebody is logged in. It is kept
// with the connection, and serves one exchange at a time.
//
//	opened --login--> at home --CWD--> elsewhere --CWD home--> at home
type session struct {
	c    *backend.Conn
	ctl  *control
	ftp  *ftp.ServerConn
	tls  *tls.Config // for data connections; nil: they speak none
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	home  string // of the user; empty: not asked for yet
	away  bool   // the current directory is not home
	ascii bool   // TYPE A is on
	lost  bool   // not fit for reuse

	ctx     context.Context // of the exchange
	end     func() bool     // stops watching it
	dialErr error           // why there is no data connection

	mu      sync.Mutex // guards the rest
	data    *dataConn  // the last one; may be closed
	aborted bool
	storing io.Closer   // the client's body, while it is stored
	last    *time.Timer // ends what follows an aborted upload
}

// begin binds the session to an exchange: when ctx ends, both connections are
// closed.
func (s *session) begin(ctx context.Context) {
	s.ctx, s.dialErr = ctx, nil
	s.ctl.begin()
	s.end = context.AfterFunc(ctx, s.abort)
}

// finish ends that, and reports whether ctx had not ended.
func (s *session) finish() bool {
	alive := s.end()
	s.closeData()
	s.ctx, s.end = nil, nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil {
		s.last.Stop()
	}
	return alive
}

// abort breaks off whatever goes on, from any goroutine. The control connection
// of an upload is left for a moment, so that what was stored can be taken away
// again.
func (s *session) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aborted = true
	if s.data != nil && s.storing != nil {
		s.data.reset()
		s.last = time.AfterFunc(atMost(s.c, shutLimit), s.c.Abort)
		go s.storing.Close() // which may wait for a read to end
		return
	}
	s.c.Abort()
	if s.data != nil {
		s.data.abort()
	}
}

// stores tells what body a transfer that has begun is fed from; nil for the end
// of that.
func (s *session) stores(body io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.storing = body
}

// adopt makes d the data connection, unless the session was aborted.
func (s *session) adopt(d *dataConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aborted {
		return false
	}
	s.data = d
	return true
}

// closeData closes the data connection, if there is one.
func (s *session) closeData() {
	s.mu.Lock()
	d := s.data
	s.data = nil
	s.mu.Unlock()
	if d != nil {
		d.lent = false
		_ = d.Close()
	}
}

// reusable reports whether the next request of the same user may have the
// connection.
func (s *session) reusable() bool { return !s.lost && s.ctl.clean() }

// setType switches between binary and ASCII.
func (s *session) setType(ascii bool) error {
	if s.ascii == ascii {
		return nil
	}
	to := ftp.TransferTypeBinary
	if ascii {
		to = ftp.TransferTypeASCII
	}
	if err := s.ftp.Type(to); err != nil {
		return err
	}
	s.ascii = ascii
	return nil
}

// toHome goes back to where names without a slash in front are looked up.
func (s *session) toHome() error {
	if !s.away {
		return nil
	}
	if err := s.ftp.ChangeDir(s.home); err != nil {
		return err
	}
	s.away = false
	return nil
}

// changeDir goes to a directory: "" is home, one with a slash in front is
// where it says, all others are below home. What the server has to say about
// it is in the control's lines afterwards.
func (s *session) changeDir(dir string) error {
	if err := s.findHome(); err != nil {
		return err
	}
	if s.away && (dir == "" || dir[0] != '/') {
		if err := s.toHome(); err != nil {
			return err
		}
	}
	if dir == "" {
		return nil
	}
	if err := s.ftp.ChangeDir(guard(dir)); err != nil {
		return err
	}
	s.away = true
	return nil
}

// findHome asks for the directory that the login led to.
func (s *session) findHome() error {
	if s.home != "" || s.away {
		return nil
	}
	dir, err := s.ftp.CurrentDir()
	if s.ctl.failure != nil {
		return err
	}
	// A doubled quote stands for one (RFC 959, appendix II).
	if s.home = strings.ReplaceAll(dir, `""`, `"`); err != nil || s.home == "" || hasControl(s.home) {
		s.home, s.lost = "", true
	}
	return nil
}

// guard keeps servers from taking a name for something else: an option of ls,
// the home of a user, or blanks before the argument.
func guard(name string) string {
	if name != "" && strings.IndexByte("-~ ", name[0]) >= 0 {
		return "./" + name
	}
	return name
}
