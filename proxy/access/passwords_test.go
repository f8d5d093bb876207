package access

import (
	"context"
	"errors"
	"fmt"
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

	"github.com/modproxy/modproxy/proxy/exchange"
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
			wg.Go(func() { require.ErrorIs(t, ask(leaving, fmt.Sprint("wrong", i)), exchange.ErrClientGone) })
		}
		synctest.Wait()
		for range 2 {
			wg.Go(func() { require.ErrorIs(t, ask(leaving, "right"), exchange.ErrClientGone) })
		}
		impatient, give := context.WithCancel(t.Context())
		wg.Go(func() { require.ErrorIs(t, ask(impatient, "nobody's"), exchange.ErrClientGone) })
		synctest.Wait()
		wg.Go(func() { require.NoError(t, ask(t.Context(), "right")) })
		late, end := context.WithTimeout(t.Context(), time.Millisecond)
		defer end()
		synctest.Wait()
		begun := time.Now()
		require.Equal(t, 504, exchange.StatusOf(ask(late, "late")))
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
	for want, err := range map[int]error{500: errors.New("down"), 503: &exchange.Error{Status: 503, Err: errors.New("busy")}} {
		_, got := (&BasicAuth{Verify: func(context.Context, string, string) (bool, error) { return false, err }}).CheckOrigin(r)
		require.Equal(t, want, exchange.StatusOf(got))
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
			require.Equal(t, status, exchange.StatusOf(err))
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

// TestHtpasswdIsAFile: what is none of bearable size is an error at once, though it
// became so later; a FIFO without a writer would keep everybody waiting.
func TestHtpasswdIsAFile(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	require.NoError(t, os.WriteFile(large, nil, 0o600))
	require.NoError(t, os.Truncate(large, 1<<30))
	for _, not := range []string{dir, "/dev/zero", large} {
		_, err := OpenHtpasswd(not)
		require.ErrorContains(t, err, "no regular file", not)
		name := filepath.Join(t.TempDir(), "users")
		require.NoError(t, os.WriteFile(name, nil, 0o600))
		users, err := OpenHtpasswd(name)
		require.NoError(t, err)
		require.NoError(t, os.Remove(name))
		require.NoError(t, os.Symlink(not, name))
		users.looked = time.Now().Add(-lookAgain)
		_, err = users.Verify(t.Context(), "a", "x")
		require.ErrorContains(t, err, "no regular file", not)
	}
}
