package proxy

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/access"
)

// authFronts are those who ask for passwords, and the field in which they come.
var authFronts = map[string]struct {
	field string
	front func(a *access.BasicAuth) http.Handler
}{
	"site": {"Authorization", func(a *access.BasicAuth) http.Handler {
		return a.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	}},
	"forward proxy": {"Proxy-Authorization", func(a *access.BasicAuth) http.Handler {
		return &Forward{Clients: &access.Clients{Auth: a}, Transports: map[string]http.RoundTripper{"http": roundTripFunc(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})}, Destinations: &access.Destinations{AllowPrivate: true}}
	}},
	"CONNECT": {"Proxy-Authorization", func(a *access.BasicAuth) http.Handler {
		return &Forward{Clients: &access.Clients{Auth: a}, Connect: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), Destinations: &access.Destinations{AllowPrivate: true}}
	}},
}

// TestGuessesStarveNobody has a flood of wrong passwords: no more are verified
// at once than there are processors, no more wait than may, and whoever has
// logged in goes on.
func TestGuessesStarveNobody(t *testing.T) {
	most := runtime.GOMAXPROCS(0)
	for name, kind := range authFronts {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var v slowVerify
				a := &access.BasicAuth{Verify: v.verify, MaxWaiting: 8, CacheTTL: time.Minute}
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
