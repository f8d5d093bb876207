package access

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
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
	// that it cannot be decided; the answer is then 500, or the status of a
	// [*exchange.Error]. Those who come with the same password at the same time share a
	// call, whose context ends when all of them have left.
	Verify func(ctx context.Context, user, password string) (bool, error)

	// Users are the only ones that may pass. If empty, all whom Verify knows.
	// Apache: Require user.
	Users []string

	// CacheTTL is how long a password that was verified passes without being
	// verified again, as good hashes take long by design. What is kept, of at
	// most 4096 passwords, is a digest under a random key of this BasicAuth.
	// Zero means 5 minutes; negative means that each request is verified.
	CacheTTL time.Duration

	// Stamp, if not nil, returns what says whether a user's password has
	// changed, such as the hash of it: what was verified under another stamp
	// does not count. [Htpasswd.Stamp] fits.
	Stamp func(user string) string

	// MaxWaiting is how many passwords may wait to be verified, since Verify is
	// called as many times at once as there are processors. One more is answered
	// with 503 at once, so that guesses do not pile up; those that were right
	// before are not counted, and go first. Zero means 128; negative lets none
	// wait.
	MaxWaiting int

	passwords passwords
}

const maxCredentials = 1024 // bytes: some hashes take time for each

var errNoVerify = errors.New("BasicAuth has no Verify")

// Wrap lets only requests with credentials in Authorization through to next,
// and asks for them with 401. Apache: AuthType Basic, Require valid-user.
func (a *BasicAuth) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := a.CheckOrigin(r)
		if err != nil {
			exchange.WriteRefusal(w, r, err)
			return
		}
		next.ServeHTTP(w, WithUser(r, user, "Basic"))
	})
}

// CheckOrigin returns the user whose credentials are in Authorization. The
// error is a [*exchange.Error] with status 401, or 503 when too many wait, and the fields
// of its answer.
func (a *BasicAuth) CheckOrigin(r *http.Request) (user string, err error) {
	return a.check(r, "Authorization", http.StatusUnauthorized, "Www-Authenticate")
}

// CheckProxy returns the user whose credentials are in Proxy-Authorization. The
// error is a [*exchange.Error] with status 407, or 503 when too many wait, and the fields
// of its answer. [Clients] calls it.
func (a *BasicAuth) CheckProxy(r *http.Request) (user string, err error) {
	return a.check(r, "Proxy-Authorization", http.StatusProxyAuthRequired, "Proxy-Authenticate")
}

func (a *BasicAuth) check(r *http.Request, field string, status int, challenge string) (string, error) {
	if a.Verify == nil {
		return "", &exchange.Error{Op: exchange.OpRequest, Status: http.StatusInternalServerError, Err: errNoVerify}
	}
	user, password, ok := parseBasic(r.Header[field])
	if ok && a.allows(user) {
		good, err := a.verify(r.Context(), user, password)
		var e *exchange.Error
		switch {
		case errors.As(err, &e):
			return "", e
		case err != nil:
			return "", &exchange.Error{Op: exchange.OpRequest, Status: http.StatusInternalServerError, Err: err}
		case good:
			return user, nil
		}
	}
	return "", &exchange.Error{Op: exchange.OpRequest, Status: status, Err: exchange.ErrForbidden, Header: http.Header{challenge: {a.challenge()}}}
}

func (a *BasicAuth) challenge() string {
	realm := a.Realm
	if realm == "" || !syntax.ValidValue(realm) {
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

func (a *BasicAuth) verify(ctx context.Context, user, password string) (bool, error) {
	stamp := ""
	if a.Stamp != nil {
		stamp = a.Stamp(user)
	}
	digest := a.passwords.digest(user, password, stamp)
	return a.passwords.good(ctx, digest, cmp.Or(a.CacheTTL, defaultCacheTTL), cmp.Or(a.MaxWaiting, defaultMaxWaiting), func(ctx context.Context) (bool, error) {
		return a.Verify(ctx, user, password)
	})
}

// Forget makes all passwords be verified again.
func (a *BasicAuth) Forget() { a.passwords.forgetAll() }

// parseBasic reads the one value of a field of credentials.
func parseBasic(values []string) (user, password string, ok bool) {
	if len(values) != 1 || len(values[0]) > 2*maxCredentials {
		return "", "", false
	}
	scheme, encoded, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	text, err := base64.StdEncoding.DecodeString(syntax.TrimBlank(encoded))
	if err != nil || len(text) > maxCredentials {
		return "", "", false
	}
	user, password, ok = strings.Cut(string(text), ":")
	return user, password, ok && user != "" && syntax.ValidValue(text)
}
