package balancer

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// flagged makes members from words such as "a", "b/H", "c/R1": name, flags,
// set.
func flagged(t *testing.T, words string) (map[string]*fake, []MemberConfig) {
	fs := map[string]*fake{}
	var list []MemberConfig
	for word := range strings.FieldsSeq(words) {
		name, rest, _ := strings.Cut(word, "/")
		set := 0
		if i := strings.IndexAny(rest, "0123456789"); i >= 0 {
			set, rest = int(rest[i]-'0'), rest[:i]
		}
		f, err := backend.ParseFlags(rest, 0)
		require.NoError(t, err)
		fs[name] = &fake{name: name}
		list = append(list, MemberConfig{Name: name, URL: "http://" + name, RoundTripper: fs[name], Flags: f, LBSet: set})
	}
	return fs, list
}

func TestOrderOfChoice(t *testing.T) {
	for _, test := range []struct{ name, members, failed, want string }{
		{"all", "a b", "", "a b a b"},
		{"a spare waits", "a b r/R", "", "a b a b"},
		{"a spare for one in error", "a b r/R", "b", "a r a r"},
		{"as many spares as are missing", "a b r/R s/R", "b", "a r a r"},
		{"two spares for two", "a b r/R s/R", "a b", "r s r s"},
		{"a spare for one disabled", "a b/D r/R", "", "a r a r"},
		{"spares for one disabled and one in error", "a b/D r/R s/R", "a", "r s r s"},
		{"a spare for one draining", "a b/N r/R", "", "a r a r"},
		{"a standby waits", "a b s/H", "", "a b a b"},
		{"a standby is no spare", "a b s/H", "b", "a a a a"},
		{"the standby comes last", "a b s/H", "a b", "s s s s"},
		{"spares before standbys", "a r/R s/H", "a", "r r r r"},
		{"the next set waits", "a b c/1", "", "a b a b"},
		{"the next set", "a c/1", "a", "c c c c"},
		{"a standby before the next set", "a s/H c/1", "a", "s s s s"},
		{"stopped", "a/S b", "", "b b b b"},
		{"disabled", "a/D b", "", "b b b b"},
		{"errors ignored", "a/I b", "a", "a b a b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, list := flagged(t, test.members)
			b := newTest(t, Config{}, list...)
			for name := range strings.FieldsSeq(test.failed) {
				b.Member(name).MarkError(errors.New("test"))
			}
			var got []string
			for range 4 {
				got = append(got, send(t, b))
			}
			require.Equal(t, test.want, strings.Join(got, " "))
		})
	}
}

func TestForceRecovery(t *testing.T) {
	for _, off := range []bool{false, true} {
		_, list := flagged(t, "a b c/D")
		b := newTest(t, Config{NoForceRecovery: off}, list...)
		b.Member("a").MarkError(errors.New("test"))
		b.Member("b").MarkError(errors.New("test"))
		name, err := sent(b, get(t, "balancer://x/"))
		if !off {
			require.NoError(t, err)
			require.Equal(t, "a", name)
			continue
		}
		var pe *exchange.Error
		require.ErrorAs(t, err, &pe)
		require.Equal(t, http.StatusServiceUnavailable, pe.Status)
		require.Greater(t, pe.RetryAfter, 50*time.Second)
		require.ErrorIs(t, err, ErrNoMember)
		var be *Error
		require.ErrorAs(t, err, &be)
		require.Equal(t, []exchange.Skip{{Member: "c", Why: "disabled"}, {Member: "a", Why: "in error"}, {Member: "b", Why: "in error"}}, be.Skipped)
	}
}

func TestTimeoutWaitsForAMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, list := flagged(t, "a b/D")
		list[0].Retry = 20 * time.Second
		b, err := New(Config{Timeout: 30 * time.Second, NoForceRecovery: true}, list...)
		require.NoError(t, err)
		defer b.Close()
		start := time.Now()
		wait := func(want string, took time.Duration) {
			start = time.Now()
			name, err := sent(b, get(t, "balancer://x/"))
			if want == "" {
				require.ErrorIs(t, err, ErrNoMember)
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, want, name)
			require.InDelta(t, took.Seconds(), time.Since(start).Seconds(), 0.01)
		}
		b.Member("a").MarkError(errors.New("test"))
		wait("a", 20*time.Second) // its retry

		b.Member("a").MarkError(errors.New("test"))
		time.AfterFunc(5*time.Second, func() { b.Member("b").SetFlags(0, Disabled) })
		wait("b", 5*time.Second) // enabled by hand

		b.Member("a").SetFlags(Disabled, 0)
		b.Member("b").SetFlags(Disabled, 0)
		wait("", 30*time.Second)
	})
}

func TestRedirectWithoutSession(t *testing.T) {
	_, list := flagged(t, "a b c")
	list[0].Route, list[0].Redirect = "ra", "rb"
	list[1].Route = "rb"
	b := newTest(t, Config{Sticky: ParseSticky("SID")}, list...)
	got := ""
	for range 6 {
		got += send(t, b)
	}
	require.Equal(t, "bbcbbc", got)
	r := get(t, "balancer://x/;SID=1.ra")
	name, err := sent(b, r)
	require.NoError(t, err)
	require.Equal(t, "a", name, "a session stays")
}

func TestFullMembersArePassedOver(t *testing.T) {
	fs, list := flagged(t, "a b")
	list[0].MaxInFlight, list[0].MaxWaiting = 1, -1
	b := newTest(t, Config{}, list...)
	release := make(chan struct{})
	entered := make(chan struct{})
	fs["a"].do(func(r *http.Request) (*http.Response, error) {
		close(entered)
		<-release
		return answer(r, 200, "a"), nil
	})
	done := make(chan string, 1)
	go func() {
		name, _ := sent(b, get(t, "balancer://x/"))
		done <- name
	}()
	<-entered
	for range 4 {
		require.Equal(t, "b", send(t, b))
	}
	b.Member("b").SetFlags(Disabled, 0)
	_, err := sent(b, get(t, "balancer://x/"))
	require.ErrorIs(t, err, ErrNoMember)
	require.Equal(t, 503, exchange.StatusOf(err))
	close(release)
	require.Equal(t, "a", <-done)
}

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, list := flagged(t, "a")
		list[0].MaxInFlight, list[0].MaxWaiting, list[0].WaitTimeout = 2, 3, 5*time.Second
		b, err := New(Config{}, list...)
		require.NoError(t, err)
		defer b.Close()
		fs["a"].do(func(r *http.Request) (*http.Response, error) {
			time.Sleep(4 * time.Second)
			return answer(r, 200, "a"), nil
		})
		results := make(chan error, 6)
		for range 6 {
			go func() {
				_, err := sent(b, get(t, "balancer://x/"))
				results <- err
			}()
			synctest.Wait() // in their order
		}
		// Two run, three wait, one is refused; of the three, two run after 4 s,
		// and one has waited too long after 5 s.
		count := map[string]int{}
		for range 6 {
			switch err := <-results; {
			case err == nil:
				count["ok"]++
			case errors.Is(err, ErrNoMember):
				count["full"]++
				require.Equal(t, 503, exchange.StatusOf(err))
			case errors.Is(err, ErrQueueTimeout):
				count["late"]++
				require.Equal(t, 503, exchange.StatusOf(err))
			default:
				t.Error(err)
			}
		}
		require.Equal(t, map[string]int{"ok": 4, "full": 1, "late": 1}, count)
		require.Zero(t, b.Member("a").Busy())
		st, _ := b.Member("a").State()
		require.Equal(t, StateUsable, st)
	})
}
