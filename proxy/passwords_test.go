package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

// slowVerify takes a second for each password: "right" is that of everybody.
type slowVerify struct {
	mu    sync.Mutex
	begun []string
	ended int // by their contexts
}

func (v *slowVerify) verify(ctx context.Context, user, password string) (bool, error) {
	v.mu.Lock()
	v.begun = append(v.begun, user+":"+password)
	v.mu.Unlock()
	select {
	case <-time.After(time.Second):
		return password == "right", nil
	case <-ctx.Done():
		v.mu.Lock()
		defer v.mu.Unlock()
		v.ended++
		return false, ctx.Err()
	}
}

func (v *slowVerify) asked() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]string(nil), v.begun...)
}

// authFronts are those who ask for passwords, and the field in which they come.
var authFronts = map[string]struct {
	field string
	front func(a *BasicAuth) http.Handler
}{
	"site": {"Authorization", func(a *BasicAuth) http.Handler {
		return a.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	}},
	"forward proxy": {"Proxy-Authorization", func(a *BasicAuth) http.Handler {
		return &Forward{Clients: &Clients{Auth: a}, Transports: map[string]http.RoundTripper{"http": roundTripperFunc(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})}, Destinations: &Destinations{AllowPrivate: true}}
	}},
	"CONNECT": {"Proxy-Authorization", func(a *BasicAuth) http.Handler {
		return &Forward{Clients: &Clients{Auth: a}, Connect: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), Destinations: &Destinations{AllowPrivate: true}}
	}},
}

type roundTripperFunc func(r *http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestGuessesStarveNobody has a flood of wrong passwords: no more are verified
// at once than there are processors, no more wait than may, and whoever has
// logged in goes on.
func TestGuessesStarveNobody(t *testing.T) {
	most := runtime.GOMAXPROCS(0)
	for name, kind := range authFronts {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var v slowVerify
				a := &BasicAuth{Verify: v.verify, MaxWaiting: 8, CacheTTL: time.Minute}
				front := kind.front(a)
				ask := func(ctx context.Context, user, password string) *httptest.ResponseRecorder {
					method, target := "GET", "http://10.0.0.1/"
					if name == "CONNECT" {
						method, target = "CONNECT", "10.0.0.1:443"
					}
					r := httptest.NewRequest(method, target, nil).WithContext(ctx)
					r.Header.Set(kind.field, basic(user, password))
					w := httptest.NewRecorder()
					front.ServeHTTP(w, r)
					return w
				}
				var wg sync.WaitGroup
				later := func(user, password string, status int, after time.Duration) {
					begun := time.Now()
					wg.Go(func() {
						w := ask(t.Context(), user, password)
						require.Equal(t, status, w.Code, user+password)
						require.InDelta(t, after, time.Since(begun), float64(time.Millisecond), user+password)
					})
					synctest.Wait()
				}
				refused := map[string]int{"site": 401}[name]
				if refused == 0 {
					refused = 407
				}
				require.Equal(t, 200, ask(t.Context(), "alice", "right").Code)
				require.Equal(t, 200, ask(t.Context(), "bob", "right").Code)
				for i := range most + 8 {
					later("eve", fmt.Sprint("guess", i), refused, time.Duration(1+i/most)*time.Second)
				}
				for range 3 {
					w := ask(t.Context(), "eve", "one more")
					require.Equal(t, 503, w.Code)
					require.Equal(t, "1", w.Header().Get("Retry-After"))
				}
				later("eve", "guess0", refused, time.Second) // nothing for nothing
				require.Equal(t, 200, ask(t.Context(), "alice", "right").Code)
				require.Equal(t, 503, ask(t.Context(), "alice", "wrong").Code)
				wg.Wait()
				require.Len(t, v.asked(), 2+most+8)

				time.Sleep(time.Minute) // all is to be verified again
				for i := range most {
					later("eve", fmt.Sprint("guess", i), refused, time.Second)
				}
				for i := range 8 {
					later("eve", fmt.Sprint("guess", most+i), refused, time.Duration(2+(i+1)/most)*time.Second)
				}
				later("alice", "right", 200, 2*time.Second) // goes first, though the line is full
				wg.Wait()
			})
		})
	}
}

// TestClientsLeaveTheLine: who leaves waits no more, and does not take others
// with it who have come with the same password.
func TestClientsLeaveTheLine(t *testing.T) {
	most := runtime.GOMAXPROCS(0)
	synctest.Test(t, func(t *testing.T) {
		var v slowVerify
		a := &BasicAuth{Verify: v.verify}
		ask := func(ctx context.Context, password string) error {
			r := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
			r.Header.Set("Authorization", basic("alice", password))
			_, err := a.CheckOrigin(r)
			return err
		}
		var wg sync.WaitGroup
		leaving, leave := context.WithCancel(t.Context())
		for i := range most { // these are verified, for nobody
			wg.Go(func() { require.ErrorIs(t, ask(leaving, fmt.Sprint("wrong", i)), ErrClientGone) })
		}
		synctest.Wait()
		for range 2 {
			wg.Go(func() { require.ErrorIs(t, ask(leaving, "right"), ErrClientGone) })
		}
		impatient, give := context.WithCancel(t.Context())
		wg.Go(func() { require.ErrorIs(t, ask(impatient, "nobody's"), ErrClientGone) })
		synctest.Wait()
		wg.Go(func() { require.NoError(t, ask(t.Context(), "right")) })
		late, end := context.WithTimeout(t.Context(), time.Millisecond)
		defer end()
		synctest.Wait()
		begun := time.Now()
		require.Equal(t, 504, StatusOf(ask(late, "late")))
		give()
		synctest.Wait()
		leave()
		wg.Wait()
		require.Equal(t, time.Second+time.Millisecond, time.Since(begun), "the places were free at once")
		require.Equal(t, most, v.ended)
		require.NotContains(t, v.asked(), "alice:nobody's")
		require.NotContains(t, v.asked(), "alice:late")
		require.Len(t, v.asked(), most+1)
		require.Zero(t, a.passwords.busy)
		require.Empty(t, a.passwords.checks)
	})
}

// TestVerifyThatPanics ends the requests that ask, and nothing else.
func TestVerifyThatPanics(t *testing.T) {
	a := &BasicAuth{Verify: func(context.Context, string, string) (bool, error) { panic("oops") }}
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth("u", "p")
	for range runtime.GOMAXPROCS(0) + 1 {
		require.PanicsWithValue(t, "oops", func() { _, _ = a.CheckOrigin(r) })
	}
}

// TestForgetWhileVerifying: what is verified at that moment is not remembered.
func TestForgetWhileVerifying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var v slowVerify
		a := &BasicAuth{Verify: v.verify}
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth("alice", "right")
		go func() {
			_, err := a.CheckOrigin(r)
			require.NoError(t, err)
		}()
		synctest.Wait()
		a.Forget()
		for range 2 {
			_, err := a.CheckOrigin(r)
			require.NoError(t, err)
		}
		require.Len(t, v.asked(), 2)
	})
}

// TestErrorOfVerify keeps its status.
func TestErrorOfVerify(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth("u", "p")
	for want, err := range map[int]error{500: errors.New("down"), 503: &Error{Status: 503, Err: errors.New("busy")}} {
		_, got := (&BasicAuth{Verify: func(context.Context, string, string) (bool, error) { return false, err }}).CheckOrigin(r)
		require.Equal(t, want, StatusOf(got))
		require.ErrorIs(t, got, err)
	}
}

// TestHtpasswdFollowsItsFile: a password that was changed, a user who was
// removed and a file that cannot be read count at once for all, those too that
// are remembered.
func TestHtpasswdFollowsItsFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "users")
	write := func(users ...string) {
		text := ""
		for i := 0; i < len(users); i += 2 {
			hash, err := bcrypt.GenerateFromPassword([]byte(users[i+1]), bcrypt.MinCost)
			require.NoError(t, err)
			text += users[i] + ":" + string(hash) + "\n"
		}
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
	_, err := OpenHtpasswd(name)
	require.ErrorIs(t, err, os.ErrNotExist)
	write("alice", "a", "bob", "b")
	users, err := OpenHtpasswd(name)
	require.NoError(t, err)
	require.Equal(t, 2, users.Len())
	a := &BasicAuth{Verify: users.Verify, Stamp: users.Stamp}
	check := func(user, password string, status int) {
		t.Helper()
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth(user, password)
		_, err := a.CheckOrigin(r)
		if status == 200 {
			require.NoError(t, err)
		} else {
			require.Equal(t, status, StatusOf(err))
		}
	}
	later := func() { users.looked = time.Now().Add(-lookAgain) }
	check("alice", "a", 200)
	check("bob", "b", 200)
	write("alice", "new", "carol", "c")
	later()
	check("alice", "a", 401)
	check("alice", "new", 200)
	check("bob", "b", 401)
	check("carol", "c", 200)
	require.NoError(t, os.WriteFile(name, []byte("carol:{SHA}x\n"), 0o600))
	later()
	check("carol", "c", 500)
	require.NoError(t, os.Remove(name))
	later()
	check("carol", "c", 500)
	write("carol", "c")
	later()
	check("carol", "c", 200)
}
