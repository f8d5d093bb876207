package proxy

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"
)

// BasicAuth asks clients for a name and a password by the Basic scheme (RFC
// 7617): as a proxy when it is part of [Clients], else by its Wrap. The
// password travels in the clear: let TLS, or a network that you trust, be
// around it.
//
// Set the fields before the first use. Any goroutine may then use it.
type BasicAuth struct {
	// Realm is what clients show to their users. Empty means "proxy". Apache:
	// AuthName.
	Realm string

	// Verify decides whether a password is that of the user. It should take as
	// long for users that do not exist. [Htpasswd.Verify] fits. An error means
	// that it cannot be decided; the answer is then 500.
	Verify func(ctx context.Context, user, password string) (bool, error)

	// Users are the only ones that may pass. If empty, all whom Verify knows.
	// Apache: Require user.
	Users []string

	// CacheTTL is how long a password that was verified passes without being
	// verified again, as good hashes take long by design. What is kept is a
	// digest under a key of this process. Zero means 5 minutes; negative means
	// that each request is verified.
	CacheTTL time.Duration

	once     sync.Once
	key      [32]byte
	verifies chan struct{} // a place for each Verify at work

	mu    sync.Mutex // guards known
	known map[[32]byte]time.Time
}

const (
	defaultCacheTTL = 5 * time.Minute
	maxKnown        = 4096
	maxCredentials  = 1024 // bytes: some hashes take time for each
)

var errNoVerify = errors.New("BasicAuth has no Verify")

// Wrap lets only requests with credentials in Authorization through to next,
// and asks for them with 401. Apache: AuthType Basic, Require valid-user.
func (a *BasicAuth) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := a.CheckOrigin(r)
		if err != nil {
			writeRefusal(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), admissionKey{}, admission{user: user})))
	})
}

// CheckOrigin returns the user whose credentials are in Authorization. The
// error is a [*Error] with status 401 and the fields of its answer.
func (a *BasicAuth) CheckOrigin(r *http.Request) (user string, err error) {
	return a.check(r, "Authorization", http.StatusUnauthorized, "Www-Authenticate")
}

// CheckProxy returns the user whose credentials are in Proxy-Authorization. The
// error is a [*Error] with status 407 and the fields of its answer. [Clients]
// calls it.
func (a *BasicAuth) CheckProxy(r *http.Request) (user string, err error) {
	return a.check(r, "Proxy-Authorization", http.StatusProxyAuthRequired, "Proxy-Authenticate")
}

func (a *BasicAuth) check(r *http.Request, field string, status int, challenge string) (string, error) {
	if a.Verify == nil {
		return "", &Error{Op: OpRequest, Status: http.StatusInternalServerError, Err: errNoVerify}
	}
	user, password, ok := parseBasic(r.Header[field])
	if ok && a.allows(user) {
		good, err := a.verify(r.Context(), user, password)
		switch {
		case err != nil:
			return "", &Error{Op: OpRequest, Status: http.StatusInternalServerError, Err: err}
		case good:
			return user, nil
		}
	}
	return "", &Error{Op: OpRequest, Status: status, Err: ErrForbidden, Header: http.Header{challenge: {a.challenge()}}}
}

func (a *BasicAuth) challenge() string {
	realm := a.Realm
	if realm == "" || !validValue(realm) {
		realm = "proxy"
	}
	return `Basic realm="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(realm) + `", charset="UTF-8"`
}

// allows reports whether a user is one of Users. That a name is not among them
// is no secret: the answer may be quick.
func (a *BasicAuth) allows(user string) bool {
	for _, u := range a.Users {
		if u == user {
			return true
		}
	}
	return len(a.Users) == 0
}

// verify asks the cache, and then Verify, of which no more run at a time than
// there are processors, so that guesses cannot take all of them for long.
func (a *BasicAuth) verify(ctx context.Context, user, password string) (bool, error) {
	a.once.Do(func() {
		_, _ = rand.Read(a.key[:]) // never fails
		a.verifies = make(chan struct{}, runtime.GOMAXPROCS(0))
	})
	ttl := or(a.CacheTTL, defaultCacheTTL)
	digest := a.digest(user, password)
	if ttl > 0 && a.knows(digest) {
		return true, nil
	}
	select {
	case a.verifies <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-a.verifies }()
	if ttl > 0 && a.knows(digest) { // somebody else has asked meanwhile
		return true, nil
	}
	ok, err := a.Verify(ctx, user, password)
	if ok && err == nil && ttl > 0 {
		a.remember(digest, ttl)
	}
	return ok && err == nil, err
}

func (a *BasicAuth) digest(user, password string) (d [32]byte) {
	m := hmac.New(sha256.New, a.key[:])
	m.Write([]byte(user + ":" + password)) // names have no colon
	m.Sum(d[:0])
	return d
}

func (a *BasicAuth) knows(digest [32]byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	until, ok := a.known[digest]
	return ok && time.Now().Before(until)
}

func (a *BasicAuth) remember(digest [32]byte, ttl time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if len(a.known) >= maxKnown {
		for d, until := range a.known {
			if now.After(until) {
				delete(a.known, d)
			}
		}
	}
	if len(a.known) >= maxKnown {
		clear(a.known)
	}
	if a.known == nil {
		a.known = make(map[[32]byte]time.Time)
	}
	a.known[digest] = now.Add(ttl)
}

// Forget makes all passwords be verified again.
func (a *BasicAuth) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.known)
}

// parseBasic reads the one value of a field of credentials.
func parseBasic(values []string) (user, password string, ok bool) {
	if len(values) != 1 || len(values[0]) > 2*maxCredentials {
		return "", "", false
	}
	scheme, encoded, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	text, err := base64.StdEncoding.DecodeString(trimBlank(encoded))
	if err != nil || len(text) > maxCredentials {
		return "", "", false
	}
	user, password, ok = strings.Cut(string(text), ":")
	return user, password, ok && user != "" && validValue(text)
}

// writeRefusal answers a request that a rule refuses.
func writeRefusal(w http.ResponseWriter, r *http.Request, err error) {
	addErrorFields(w.Header(), err)
	writeErrorPage(w, r, StatusOf(err))
}
