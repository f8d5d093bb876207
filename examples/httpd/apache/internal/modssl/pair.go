package modssl

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/plainfile"
)

// maxFile bounds what is read of a file of certificates or keys, in bytes.
const maxFile = 16 << 20

// checkEvery is how often, at most, a Pair looks whether its files have changed.
const checkEvery = time.Second

// Pair is a certificate with its key, in files that are read again when they change.
type Pair struct {
	files Files
	log   *slog.Logger

	current atomic.Pointer[tls.Certificate]
	checked atomic.Int64 // when the files were last looked at

	mu    sync.Mutex // guards the rest: who reads the files again
	stamp stamp
}

// Files are those of a Pair.
type Files struct {
	Certificate string // SSLCertificateFile, which may hold the chain, too
	Key         string // SSLCertificateKeyFile; "" for the same file
	Chain       string // SSLCertificateChainFile, for a certificate without a chain

	// Passphrase is asked for an encrypted key (SSLPassPhraseDialog); nil refuses.
	Passphrase func() ([]byte, error)
}

// stamp tells one state of the files from another.
type stamp [3]struct {
	size     int64
	modified time.Time
	file     os.FileInfo
}

func (s *stamp) same(o *stamp) bool {
	for i := range s {
		a, b := s[i], o[i]
		if a.size != b.size || !a.modified.Equal(b.modified) || (a.file == nil) != (b.file == nil) || a.file != nil && !os.SameFile(a.file, b.file) {
			return false
		}
	}
	return true
}

func (f *Files) stamp() (s stamp) {
	for i, name := range []string{f.Certificate, f.Key, f.Chain} {
		if name == "" {
			continue
		}
		if info, err := os.Stat(name); err == nil {
			s[i].size, s[i].modified, s[i].file = info.Size(), info.ModTime(), info
		}
	}
	return s
}

// Open reads a pair. What happens when its files change later is logged.
func Open(f Files, log *slog.Logger) (*Pair, error) {
	p := &Pair{files: f, log: log, stamp: f.stamp()}
	cert, err := f.read()
	if err != nil {
		return nil, err
	}
	p.current.Store(cert)
	p.checked.Store(time.Now().UnixNano())
	return p, nil
}

// Certificate returns the pair as it is now. A change of the files that does not
// leave a whole pair changes nothing, and is logged once.
func (p *Pair) Certificate() *tls.Certificate {
	now, last := time.Now().UnixNano(), p.checked.Load()
	if now-last >= int64(checkEvery) && p.checked.CompareAndSwap(last, now) && p.mu.TryLock() {
		p.refresh()
		p.mu.Unlock()
	}
	return p.current.Load()
}

// refresh reads the files again if they have changed.
func (p *Pair) refresh() {
	stamp := p.files.stamp()
	if stamp.same(&p.stamp) {
		return
	}
	cert, err := p.files.read()
	again := p.files.stamp()
	if !again.same(&stamp) {
		return // somebody is writing: the next look will tell
	}
	p.stamp = stamp
	if err != nil {
		p.log.Error("certificate has changed and cannot be used: the one before stays", "file", p.files.Certificate, "error", err)
		return
	}
	p.current.Store(cert)
	p.log.Info("certificate has changed", "file", p.files.Certificate, "notAfter", cert.Leaf.NotAfter)
}

// read reads the pair as its files are now.
func (f *Files) read() (*tls.Certificate, error) {
	text, err := plainfile.Read(f.Certificate, maxFile)
	if err != nil {
		return nil, err
	}
	certs, err := certificatesOf(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Certificate, err)
	}
	if len(certs) == 1 && f.Chain != "" {
		chain, err := plainfile.Read(f.Chain, maxFile)
		if err != nil {
			return nil, err
		}
		more, err := certificatesOf(chain)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Chain, err)
		}
		certs = append(certs, more...)
	}
	keyFile, keyText := f.Certificate, text
	if f.Key != "" {
		keyFile = f.Key
		if keyText, err = plainfile.Read(f.Key, maxFile); err != nil {
			return nil, err
		}
	}
	key, err := keyOf(keyText, f.Passphrase)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	var chain bytes.Buffer
	for _, c := range certs {
		_ = pem.Encode(&chain, c)
	}
	pair, err := tls.X509KeyPair(chain.Bytes(), pem.EncodeToMemory(key))
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", f.Certificate, keyFile, err)
	}
	for _, der := range pair.Certificate[1:] {
		if _, err := x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Certificate, err)
		}
	}
	return &pair, nil
}

// certificatesOf returns the certificates of a text, of which the end must not be
// missing.
func certificatesOf(text []byte) (certs []*pem.Block, err error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		switch block.Type {
		case "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE":
			certs = append(certs, &pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes})
		}
	}
	if bytes.Contains(text, []byte("-----BEGIN")) {
		return nil, errors.New("a block of PEM is cut")
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate is in it")
	}
	return certs, nil
}
