package access

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

func TestBasicAuthOfOrigin(t *testing.T) {
	var asked atomic.Int32
	a := &BasicAuth{Realm: `the "inner" circle`, Verify: countedVerify(&asked), Users: []string{"alice", "bob"}}
	h := a.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.False(t, Admitted(r.Context()), "an origin's user may not use the proxy for that")
		_, _ = w.Write([]byte("hello " + User(r.Context())))
	}))
	for _, tc := range []struct {
		fields []string
		ok     bool
	}{
		{[]string{basic("alice", "pass:word")}, true},
		{[]string{strings.Replace(basic("alice", "pass:word"), "Basic", "basic", 1)}, true},
		{nil, false},
		{[]string{basic("alice", "password")}, false},
		{[]string{basic("bob", "pass:word")}, false},
		{[]string{basic("eve", "pass:word")}, false},
		{[]string{basic("", "pass:word")}, false},
		{[]string{"Basic"}, false},
		{[]string{"Basic !"}, false},
		{[]string{"Basic YWxpY2U="}, false},
		{[]string{"Bearer x"}, false},
		{[]string{basic("alice", "pass:word"), basic("alice", "pass:word")}, false},
		{[]string{basic("alice", strings.Repeat("x", 5000))}, false},
		{[]string{basic("alice", "a\x00b")}, false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = tc.fields
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if tc.ok {
			require.Equal(t, "hello alice", w.Body.String())
			continue
		}
		require.Equal(t, http.StatusUnauthorized, w.Code, "%q", tc.fields)
		require.Equal(t, `Basic realm="the \"inner\" circle", charset="UTF-8"`, w.Header().Get("WWW-Authenticate"))
	}
	require.EqualValues(t, 1+2, asked.Load(), "malformed ones, and users who do not count, cost nothing; the good one costs once")
}

func TestBasicAuthCannotTell(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", basic("a", "b"))
	_, err := (&BasicAuth{}).CheckOrigin(r)
	require.Equal(t, 500, exchange.StatusOf(err))
	broken := errors.New("the directory is down")
	_, err = (&BasicAuth{Verify: func(context.Context, string, string) (bool, error) { return true, broken }}).CheckOrigin(r)
	require.Equal(t, 500, exchange.StatusOf(err))
	require.ErrorIs(t, err, broken)
}

func TestBasicAuthCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		a := &BasicAuth{Verify: countedVerify(&asked), CacheTTL: time.Minute}
		check := func(password string, good bool) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Authorization", basic("alice", password))
			_, err := a.CheckOrigin(r)
			require.Equal(t, good, err == nil)
		}
		for range 3 {
			check("pass:word", true)
		}
		require.EqualValues(t, 1, asked.Load())
		for range 3 {
			check("wrong", false)
		}
		require.EqualValues(t, 4, asked.Load(), "failures are not remembered")
		time.Sleep(time.Minute + 1)
		check("pass:word", true)
		require.EqualValues(t, 5, asked.Load())
		a.Forget()
		check("pass:word", true)
		require.EqualValues(t, 6, asked.Load())
		a.CacheTTL = -1
		check("pass:word", true)
		require.EqualValues(t, 7, asked.Load())
	})
}

// TestBasicAuthWorksFewAtATime: many who come at once with the same password
// cost one verification, and guesses take no more than the processors.
func TestBasicAuthWorksFewAtATime(t *testing.T) {
	var now, most, asked atomic.Int32
	release := make(chan struct{})
	a := &BasicAuth{Verify: func(_ context.Context, _, password string) (bool, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-release
		if password == "right" { // those before may begin after their clients have left
			asked.Add(1)
		}
		return password == "right", nil
	}}
	var wg sync.WaitGroup
	check := func(password string, ctx context.Context) {
		wg.Go(func() {
			r := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
			r.Header.Set("Authorization", basic("alice", password))
			_, _ = a.CheckOrigin(r)
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	for i := range 50 {
		check(strings.Repeat("x", i), ctx)
	}
	require.Eventually(t, func() bool { return int(now.Load()) == runtime.GOMAXPROCS(0) }, 20*time.Second, time.Millisecond)
	cancel() // those that wait leave
	close(release)
	wg.Wait()
	require.EqualValues(t, runtime.GOMAXPROCS(0), most.Load())
	for range 50 {
		check("right", context.Background())
	}
	wg.Wait()
	require.LessOrEqual(t, int(asked.Load()), runtime.GOMAXPROCS(0))
}

func TestBasicAuthForgetsWhenFull(t *testing.T) {
	a := &BasicAuth{Verify: func(context.Context, string, string) (bool, error) { return true, nil }}
	for i := range maxKnown + 10 {
		_, err := a.verify(context.Background(), "user", strings.Repeat("x", i%1000)+string(rune(i)))
		require.NoError(t, err)
	}
	require.LessOrEqual(t, len(a.passwords.known), maxKnown)
}

// TestBasicAuthForgetsBeforeItKnows: Forget may be called beside the first
// request.
func TestBasicAuthForgetsBeforeItKnows(t *testing.T) {
	a := &BasicAuth{Verify: func(context.Context, string, string) (bool, error) { return true, nil }}
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Forget()
	}()
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth("u", "p")
	_, err := a.CheckOrigin(r)
	require.NoError(t, err)
	<-done
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// countedVerify knows one password, and counts how often it was asked.
func countedVerify(asked *atomic.Int32) func(context.Context, string, string) (bool, error) {
	return func(_ context.Context, user, password string) (bool, error) {
		asked.Add(1)
		return user == "alice" && password == "pass:word", nil
	}
}
