package digest

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
)

// Digest makes challenges and checks what answers them. Any goroutine may use it.
type Digest struct {
	// Lookup returns MD5(user:realm:password) in hexadecimal digits, as files of
	// htdigest have it, or "" for nobody.
	Lookup func(user, realm string) (string, error)

	// Lifetime is how long a nonce is good. Zero means 5 minutes; negative means
	// for ever. Apache: AuthDigestNonceLifetime.
	Lifetime time.Duration

	// NoQOP asks for the form of RFC 2069, without a qop. Apache: AuthDigestQop
	// none.
	NoQOP bool

	// Domain are the URIs that clients may use the same credentials for. Apache:
	// AuthDigestDomain.
	Domain []string

	key [32]byte
}

// New returns a Digest with a key of its own.
func New() *Digest {
	d := &Digest{}
	_, _ = rand.Read(d.key[:]) // it does not fail
	return d
}

// Result is what came of credentials.
type Result uint8

const (
	Refused Result = iota // they are not those of a user
	Stale                 // they are right, but for a nonce that is too old, or of somebody else
	Good
)

// Check decides about credentials for a request with a method and a target, which
// is the one that the client has sent.
func (d *Digest) Check(c Credentials, realm, method, target string) (Result, error) {
	if c.Realm != realm || !strings.EqualFold(c.Algorithm, "MD5") && c.Algorithm != "" || c.URI != target {
		return Refused, nil
	}
	secret, err := d.Lookup(c.Username, realm)
	if err != nil {
		return Refused, err
	}
	known := secret != ""
	if !known {
		secret = strings.Repeat("0", 32) // so that an answer takes as long
	}
	middle := c.Nonce
	switch {
	case c.QOP == "auth" && !d.NoQOP:
		middle += ":" + c.NC + ":" + c.CNonce + ":" + c.QOP
		known = known && len(c.NC) == 8 && c.CNonce != ""
	case c.QOP != "" || !d.NoQOP:
		return Refused, nil
	}
	want := sum(secret + ":" + middle + ":" + sum(method+":"+c.URI))
	if subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(c.Response))) != 1 || !known {
		return Refused, nil
	}
	made, ours := d.made(c.Nonce, realm)
	lifetime := d.Lifetime
	if lifetime == 0 {
		lifetime = 5 * time.Minute
	}
	if age := time.Since(made); !ours || lifetime > 0 && (age > lifetime || age < -time.Minute) {
		return Stale, nil
	}
	return Good, nil
}

// Challenge returns the value of a WWW-Authenticate field.
func (d *Digest) Challenge(realm string, stale bool) string {
	quote := func(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }
	s := "Digest realm=" + quote(realm) + `, nonce="` + d.nonce(realm, time.Now()) + `", algorithm=MD5`
	if len(d.Domain) > 0 {
		s += ", domain=" + quote(strings.Join(d.Domain, " "))
	}
	if stale {
		s += ", stale=true"
	}
	if !d.NoQOP {
		s += `, qop="auth"`
	}
	return s
}

// nonce is the time with a digest of it and the realm.
func (d *Digest) nonce(realm string, now time.Time) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(now.UnixNano()))
	return base64.RawURLEncoding.EncodeToString(append(b, d.seal(b, realm)...))
}

func (d *Digest) seal(b []byte, realm string) []byte {
	m := hmac.New(sha256.New, d.key[:])
	_, _ = m.Write(b)
	_, _ = m.Write([]byte(realm))
	return m.Sum(nil)[:16]
}

// made returns when a nonce was made, if it was made here.
func (d *Digest) made(nonce, realm string) (time.Time, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || len(b) != 24 || !hmac.Equal(b[8:], d.seal(b[:8], realm)) {
		return time.Time{}, false
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(b))), true
}

func sum(s string) string {
	b := md5.Sum([]byte(s))
	return hex.EncodeToString(b[:])
}
