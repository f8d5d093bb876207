package ftpproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/jlaffaye/ftp"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// errLoginRefused marks a login that the server refused.
var errLoginRefused = errors.New("ftpproxy: login refused")

// session returns the session of a connection, after the login if it is new.
// It is bound to the context of the exchange whatever happens.
func (x *attempt) session() *exchange.Error {
	if s, ok := x.c.State.(*session); ok {
		x.s = s
		s.begin(x.ctx)
		return x.gone()
	}
	s := &session{c: x.c, ctl: newControl(x.c), dial: x.t.DialData}
	x.s = s
	s.begin(x.ctx)
	if err := x.gone(); err != nil {
		return err
	}
	if err := x.secure(); err != nil {
		return err
	}
	if err := x.greet(); err != nil {
		return err
	}
	if err := x.login(); err != nil {
		return err
	}
	x.c.State = s
	return nil
}

// gone is the failure of a client that has left before anything was sent.
func (x *attempt) gone() *exchange.Error {
	if x.ctx.Err() == nil {
		return nil
	}
	return &exchange.Error{Op: exchange.OpClient, Err: exchange.ErrClientGone}
}

// secure begins TLS where the scheme asks for it.
func (x *attempt) secure() *exchange.Error {
	ctl := x.s.ctl
	switch strings.ToLower(x.c.Backend().URL.Scheme) {
	case "ftps":
	case "ftpes":
		// Not by the library, which would speak TLS past control.
		if err := ctl.reply(); err != nil || ctl.code != 220 {
			return x.greetingFailed(err)
		}
		if err := ctl.command("AUTH TLS"); err != nil {
			return x.failed(phaseLogin, err)
		}
		if ctl.code != 234 {
			return x.refused(phaseLogin)
		}
	default:
		return nil
	}
	x.s.tls = x.tlsConfig()
	if err := ctl.handshake(x.ctx, x.s.tls); err != nil {
		return &exchange.Error{Op: exchange.OpDial, Resend: true, Err: err}
	}
	if ctl.code != 0 { // the library wants to see the greeting, too
		ctl.pending = []byte("220 \r\n")
	}
	return nil
}

// tlsConfig is that of one session: servers want data connections to resume the
// TLS session of their own control connection, and of no other.
func (x *attempt) tlsConfig() *tls.Config {
	b := x.c.Backend()
	cfg := b.TLS.Clone()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	if cfg.ServerName == "" {
		cfg.ServerName = b.URL.Hostname()
	}
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	return cfg
}

// greet lets the library take the connection over.
func (x *attempt) greet() *exchange.Error {
	s := x.s
	taken := false
	options := []ftp.DialOption{
		ftp.DialWithDisabledUTF8(true), // where it is refused, the library fails
		ftp.DialWithDialFunc(func(_, addr string) (net.Conn, error) {
			if !taken {
				taken = true
				return s.ctl, nil
			}
			d, err := s.dialData(addr)
			if err != nil {
				s.dialErr = err
				return nil, err
			}
			return d, nil
		}),
	}
	if s.tls != nil {
		options = append(options, ftp.DialWithTLS(s.tls))
	}
	conn, err := ftp.Dial(x.c.Backend().URL.Host, options...)
	if err != nil {
		return x.greetingFailed(err)
	}
	s.ftp = conn
	return nil
}

// greetingFailed words why the server did not say "220".
func (x *attempt) greetingFailed(err error) *exchange.Error {
	ctl := x.s.ctl
	if cause := ctl.refusal(err); err != nil && cause != nil && (ctl.code == 0 || ctl.code == 220) {
		return &exchange.Error{Op: exchange.OpHeader, Resend: !exchange.IsTimeout(cause), Err: cause}
	}
	return &exchange.Error{Op: exchange.OpHeader, Status: http.StatusServiceUnavailable, Resend: true, Err: &ReplyError{Code: ctl.code}}
}

// login logs in, and learns what the server can do.
func (x *attempt) login() *exchange.Error {
	s := x.s
	if err := s.ftp.Login(x.who.name, x.who.password); err != nil {
		cause := s.ctl.refusal(err)
		atLogin := s.ctl.verb == "USER" || s.ctl.verb == "PASS"
		switch code := s.ctl.code; {
		case s.ctl.failure != nil || !atLogin && cause != nil:
			return x.failed(phaseLogin, err)
		case atLogin && (code == 530 || code == 430 || code == 532 || code == 332 || code == 331):
			return &exchange.Error{Op: exchange.OpHeader, Status: http.StatusForbidden, Err: fmt.Errorf("%w: %w", errLoginRefused, &ReplyError{s.ctl.verb, code})}
		}
		return x.refused(phaseLogin)
	}
	if s.ctl.has("UTF8") {
		if err := s.ctl.command("OPTS UTF8 ON"); err != nil { // whatever the answer
			return x.failed(phaseLogin, err)
		}
	}
	return nil
}

// handshakeData does the TLS handshake of the data connection, so that its
// failure is known before an answer is given.
func (s *session) handshakeData(ctx context.Context) error {
	tc, ok := s.data.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	s.data.arm(s.c.Limits().Connect)
	err := tc.HandshakeContext(ctx)
	if err == nil {
		return nil
	}
	why := ""
	s.data.abort()
	if s.ctl.reply() == nil {
		why = fmt.Sprintf(", and the server replied %d", s.ctl.code)
	}
	return fmt.Errorf("TLS on the data connection: %w%s: the session was offered for reuse; "+
		"if the server wants another way of reuse, set the backend's TLS.MaxVersion to tls.VersionTLS12", err, why)
}
