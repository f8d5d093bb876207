package modssl

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Stapling is what the directives SSLStapling… say. The zero value is httpd's
// defaults.
type Stapling struct {
	Responder string        // SSLStaplingForceURL; "": that of the certificate
	Timeout   time.Duration // SSLStaplingResponderTimeout; 0: 10 s
	Standard  time.Duration // SSLStaplingStandardCacheTimeout; 0: an hour
	Retry     time.Duration // SSLStaplingErrorCacheTimeout; 0: 10 minutes
	Skew      time.Duration // SSLStaplingResponseTimeSkew; 0: 5 minutes
}

// Merge returns s with what inner says otherwise.
func (s Stapling) Merge(inner Stapling) Stapling {
	if inner.Responder != "" {
		s.Responder = inner.Responder
	}
	for _, pair := range [][2]*time.Duration{{&s.Timeout, &inner.Timeout}, {&s.Standard, &inner.Standard}, {&s.Retry, &inner.Retry}, {&s.Skew, &inner.Skew}} {
		if *pair[1] != 0 {
			*pair[0] = *pair[1]
		}
	}
	return s
}

// Stapler holds OCSP answers for certificates. They are fetched in the background:
// a handshake that comes before the first answer goes without. It is made by
// NewStapler.
type Stapler struct {
	client http.RoundTripper
	log    *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // guards the rest
	entries map[[sha256.Size]byte]*staple
}

// staple is what is known of one certificate.
type staple struct {
	next    time.Time // when it is asked again
	until   time.Time // the answer counts
	asking  bool
	stapled *tls.Certificate // with the answer; nil without
}

// NewStapler returns a Stapler that asks by client, until it is closed.
func NewStapler(client http.RoundTripper, log *slog.Logger) *Stapler {
	s := &Stapler{client: client, log: log, entries: make(map[[sha256.Size]byte]*staple)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close gives up what is being asked, and waits for its end.
func (s *Stapler) Close() {
	s.cancel()
	s.wg.Wait()
}

// Adopt takes over the answers that another one has.
func (s *Stapler) Adopt(other *Stapler) {
	other.mu.Lock()
	defer other.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, e := range other.entries {
		if e.stapled != nil {
			s.entries[key] = &staple{next: e.next, until: e.until, stapled: e.stapled}
		}
	}
}

// maxStaples bounds the certificates that are remembered.
const maxStaples = 10_000

// Staple returns a certificate with the answer of its responder, if there is one
// that counts, and sees to it that there is a new one in time.
func (s *Stapler) Staple(cert *tls.Certificate, o Stapling) *tls.Certificate {
	if len(cert.Certificate) < 2 || cert.Leaf == nil || o.Responder == "" && len(cert.Leaf.OCSPServer) == 0 {
		return cert // nobody can be asked
	}
	hash, now := sha256.New(), time.Now()
	for _, der := range cert.Certificate { // the chain, too, is what a stapled one shows
		hash.Write(der)
	}
	key := [sha256.Size]byte(hash.Sum(nil))
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	if e == nil {
		if len(s.entries) >= maxStaples {
			clear(s.entries)
		}
		e = &staple{}
		s.entries[key] = e
	}
	if !e.asking && !now.Before(e.next) && s.ctx.Err() == nil {
		e.asking = true
		s.wg.Go(func() { s.refresh(e, cert, o) })
	}
	if e.stapled != nil && now.Before(e.until) {
		return e.stapled
	}
	return cert
}

// refresh asks for an answer.
func (s *Stapler) refresh(e *staple, cert *tls.Certificate, o Stapling) {
	raw, answer, err := s.ask(cert, o)
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	e.asking = false
	if err != nil {
		e.next = now.Add(or(o.Retry, 10*time.Minute))
		if s.ctx.Err() == nil {
			s.log.Warn("OCSP answer cannot be had", "certificate", nameText(cert.Leaf.RawSubject, false), "error", err)
		}
		return
	}
	copied := *cert
	copied.OCSPStaple = raw
	e.stapled, e.next = &copied, now.Add(or(o.Standard, time.Hour))
	e.until = e.next.Add(or(o.Retry, 10*time.Minute))
	if !answer.NextUpdate.IsZero() {
		e.until = answer.NextUpdate
		if half := now.Add(answer.NextUpdate.Sub(now) / 2); half.Before(e.next) {
			e.next = half
		}
	}
}

func or(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// maxAnswer bounds the answer of a responder, in bytes.
const maxAnswer = 1 << 20

func (s *Stapler) ask(cert *tls.Certificate, o Stapling) ([]byte, *ocsp.Response, error) {
	issuer, err := x509.ParseCertificate(cert.Certificate[1])
	if err != nil {
		return nil, nil, err
	}
	question, err := ocsp.CreateRequest(cert.Leaf, issuer, nil)
	if err != nil {
		return nil, nil, err
	}
	url := o.Responder
	if url == "" {
		url = cert.Leaf.OCSPServer[0]
	}
	ctx, cancel := context.WithTimeout(s.ctx, or(o.Timeout, 10*time.Second))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(question))
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Content-Type", "application/ocsp-request")
	resp, err := s.client.RoundTrip(r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("%s says %s", url, resp.Status)
	}
	answer, err := ocsp.ParseResponseForCert(raw, cert.Leaf, issuer)
	if err != nil {
		return nil, nil, err
	}
	now, skew := time.Now(), or(o.Skew, 5*time.Minute)
	switch {
	case answer.Status == ocsp.Unknown:
		return nil, nil, errors.New("the responder does not know the certificate")
	case now.Add(skew).Before(answer.ThisUpdate), !answer.NextUpdate.IsZero() && now.Add(-skew).After(answer.NextUpdate):
		return nil, nil, errors.New("the answer is not of this time")
	}
	return raw, answer, nil
}
