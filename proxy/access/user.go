package access

import (
	"context"
	"net/http"

	"github.com/modproxy/modproxy/proxy/internal/contextkey"
)

// WithUser returns a request of this user: for middleware that has verified a
// client in a way of its own, as [BasicAuth] does. Everybody then tells the
// same: [User], %u of a log, the Record, REMOTE_USER of FastCGI applications,
// remote_user of AJP. To a cache further in, it is as good as Authorization. authType is how the user was verified, such as "Basic" or
// "Bearer", for AUTH_TYPE; it may be empty. Apache: r->user, r->ap_auth_type.
func WithUser(r *http.Request, user, authType string) *http.Request {
	ctx := r.Context()
	if o, ok := ctx.Value(contextkey.Observation{}).(interface{ NoteUser(user string) }); ok {
		o.NoteUser(user) // which is around, and does not see the context
	}
	return r.WithContext(context.WithValue(ctx, contextkey.User{}, [2]string{user, authType}))
}

// User returns the name under which the client of a request was verified, by
// [BasicAuth] or [WithUser]; "" if it was not.
func User(ctx context.Context) string {
	user, _ := ctx.Value(contextkey.User{}).([2]string)
	return user[0]
}
