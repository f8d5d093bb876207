package cache

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCollapseLock(t *testing.T) {
	lock := func() *Cache { return &Cache{Collapse: CollapseLock} }
	t.Run("nothing stored: all go to the origin, one stores", func(t *testing.T) {
		clocked(t, func(t *testing.T) {
			begin := make(chan struct{})
			o := newOrigin(t, step{wait: begin, header: headerOf("Cache-Control: max-age=60"), body: "x"})
			c := lock()
			h := c.Wrap(o)
			var clients []*client
			for range 5 {
				clients = append(clients, asking(h, page))
			}
			synctest.Wait()
			require.Equal(t, 5, o.count())
			close(begin)
			synctest.Wait()
			for _, cl := range clients {
				require.Equal(t, "x", cl.got())
			}
			require.Equal(t, int64(1), c.Stats().Stored)
		})
	})
	t.Run("something stale: it serves while one fetches", func(t *testing.T) {
		clocked(t, func(t *testing.T) {
			begin := make(chan struct{})
			o := newOrigin(t, *ok("old", "Cache-Control: max-age=10"), step{wait: begin, header: headerOf("Cache-Control: max-age=10"), body: "new"})
			h := lock().Wrap(o)
			get(h, page)
			time.Sleep(time.Minute)
			first := asking(h, page)
			synctest.Wait()
			require.Equal(t, "old", bodyOf(t, get(h, page)))
			require.Equal(t, 2, o.count())
			close(begin)
			synctest.Wait()
			require.Equal(t, "new", first.got())
			require.Equal(t, "new", bodyOf(t, get(h, page)))
		})
	})
	t.Run("a lock that is too old does not count", func(t *testing.T) {
		clocked(t, func(t *testing.T) {
			begin := make(chan struct{})
			o := newOrigin(t, *ok("old", "Cache-Control: max-age=10"), step{wait: begin, header: headerOf("Cache-Control: max-age=10"), body: "new"})
			h := lock().Wrap(o)
			get(h, page)
			time.Sleep(time.Minute)
			asking(h, page)
			synctest.Wait()
			time.Sleep(5 * time.Second) // CacheLockMaxAge
			second := asking(h, page)
			synctest.Wait()
			require.Equal(t, 3, o.count())
			close(begin)
			synctest.Wait()
			require.Equal(t, "new", second.got())
		})
	})
}

func TestLockFilesAreSeenByOtherProcesses(t *testing.T) {
	dir := t.TempDir()
	begin := make(chan struct{})
	o := newOrigin(t, *ok("x", "Cache-Control: max-age=60"), step{wait: begin, header: headerOf("Cache-Control: max-age=60"), body: "x"})
	one := (&Cache{Collapse: CollapseLock, LockPath: dir}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-begin
		o.ServeHTTP(w, r)
	}))
	cl := asking(one, page)
	require.Eventually(t, func() bool { return len(dirNames(t, dir)) == 1 }, 10*time.Second, time.Millisecond)
	other := &Cache{Collapse: CollapseLock, LockPath: dir} // as another process
	get(other.Wrap(o), page)
	require.Zero(t, other.Stats().Stored)
	close(begin)
	<-cl.done
	require.Empty(t, dirNames(t, dir))
	get(other.Wrap(o), page)
	require.Equal(t, int64(1), other.Stats().Stored)
}
