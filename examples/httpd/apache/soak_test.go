package apache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// TestSoak puts load of all kinds on the program for a moment, or for as long as
// the environment says, kills and restarts members of the balancer, and reloads
// the configuration all the while:
//
//	MODPROXY_SOAK=5m go test ./examples/httpd/apache -run TestSoak -v
//
// No request may fail that need not. At the end of a long run, when all is idle,
// there are no more goroutines, descriptors and memory than after the warm-up.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(cmp.Or(os.Getenv("MODPROXY_SOAK"), "0s"))
	require.NoError(t, err, "MODPROXY_SOAK")
	s := newSoak(t, soakLoads)
	if length <= 0 {
		s.run(3 * time.Second)
		require.Zero(t, s.failed.Load(), "requests that failed")
		return
	}
	s.run(max(length/6, 2*time.Second))
	before := s.rest()
	s.run(length)
	after := s.restAs(before)
	s.report(length, before, after)
	require.Zero(t, s.failed.Load(), "requests that failed")
	require.LessOrEqual(t, after.goroutines, before.goroutines)
	require.LessOrEqual(t, after.files, before.files+soakKept)
	require.LessOrEqual(t, after.heap, before.heap+before.heap/4+soakSlack)
}

// soakSlack is by how much the heap may differ by what happens to be kept.
const soakSlack = 512 << 10

// soakKept is how many descriptors may come and go at rest: the store of the
// cache keeps files open of the bodies that are wanted often, one at least.
const soakKept = soakKeys

// soakLoad is one kind of load. For another kind, add one to soakLoads.
type soakLoad struct {
	name    string
	workers int

	// start starts what answers, for the length of the test, and returns the
	// lines of the configuration, and arguments such as -resolve.
	start func(s *soak) (config string, args []string)

	// ask makes one exchange by way of the proxy, and checks all of it. It may
	// say errCut of one that was cut because a member was killed.
	ask func(w *soakWorker) error
}

// errCut is the fate of a request whose member was killed while it answered, or
// had taken what must not be sent twice.
var errCut = errors.New("cut by a kill")

// soak is the program under load.
type soak struct {
	t      *testing.T
	loads  []soakLoad
	p      *program
	addr   string
	config string
	failed atomic.Int64
	done   []atomic.Int64 // of each load
	cut    []atomic.Int64

	members        []*soakMember
	kills, reloads int
	peak           soakFigures
}

func newSoak(t *testing.T, loads []soakLoad) *soak {
	s := &soak{t: t, loads: loads, done: make([]atomic.Int64, len(loads)), cut: make([]atomic.Int64, len(loads))}
	dir := t.TempDir()
	config := "Listen 80\nKeepAliveTimeout 5\nProxyTimeout 20\nErrorLog " + dir + "/error.log\nCustomLog " + dir + "/access.log \"%h %U %>s\"\n"
	var args []string
	for _, l := range loads {
		lines, more := l.start(s)
		config += lines
		args = append(args, more...)
	}
	s.config = config
	s.p = start(t, config, soakBackend, args...)
	s.addr = s.p.server.addresses()["80"]
	return s
}

// run puts all loads on the program for a time.
func (s *soak) run(length time.Duration) {
	ctx, stop := context.WithTimeout(s.t.Context(), length)
	defer stop()
	var wg sync.WaitGroup
	for i, l := range s.loads {
		for n := range l.workers {
			wg.Go(func() { s.work(ctx, i, uint64(n)) })
		}
	}
	wg.Go(func() { s.killMembers(ctx) })
	wg.Go(func() { s.watch(ctx) })
	s.reload(ctx) // on this goroutine, since it may end the test
	wg.Wait()
}

func (s *soak) work(ctx context.Context, i int, n uint64) {
	w := &soakWorker{s: s, Rand: rand.New(rand.NewPCG(uint64(i), n)), client: &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: time.Minute}}
	defer w.client.CloseIdleConnections()
	for ctx.Err() == nil {
		switch err := s.loads[i].ask(w); {
		case err == nil:
			s.done[i].Add(1)
		case errors.Is(err, errCut):
			s.cut[i].Add(1)
		default:
			if s.failed.Add(1) <= 20 {
				s.t.Errorf("%s: %v", s.loads[i].name, err)
			}
		}
	}
}

// pause waits, and reports whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// reload reads the configuration again, each time a little different.
func (s *soak) reload(ctx context.Context) {
	for pause(ctx, time.Second) {
		s.reloads++
		s.p.write(fmt.Sprintf("%sProxyPass /reload-%d !\n", s.config, s.reloads))
		s.p.signals <- []os.Signal{syscall.SIGHUP, syscall.SIGUSR1}[s.reloads%2]
		require.Eventually(s.t, func() bool { return strings.Count(s.p.stderr.String(), "reloaded\n") == s.reloads }, time.Minute, 5*time.Millisecond)
	}
}

// killMembers kills one member after the other, each for a while; all run at
// the end.
func (s *soak) killMembers(ctx context.Context) {
	for n := 0; len(s.members) > 1 && pause(ctx, time.Second); n++ {
		m := s.members[n%len(s.members)]
		m.kill()
		s.kills++
		pause(ctx, 700*time.Millisecond)
		m.start()
		pause(ctx, 1500*time.Millisecond) // time for it to be found again
	}
}

// watch notes the most of everything.
func (s *soak) watch(ctx context.Context) {
	for pause(ctx, 500*time.Millisecond) {
		s.peak = s.peak.max(figuresNow())
	}
}

// soakFigures are what must not grow.
type soakFigures struct {
	goroutines, files int
	heap              uint64
}

func figuresNow() soakFigures {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, _ := os.ReadDir("/proc/self/fd") // none elsewhere
	return soakFigures{runtime.NumGoroutine(), len(files), m.HeapAlloc}
}

func (f soakFigures) max(g soakFigures) soakFigures {
	return soakFigures{max(f.goroutines, g.goroutines), max(f.files, g.files), max(f.heap, g.heap)}
}

func (f soakFigures) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d KiB of heap", f.goroutines, f.files, f.heap>>10)
}

// atRest are the figures without garbage.
func atRest() soakFigures {
	runtime.GC()
	debug.FreeOSMemory() // the second collection empties the pools
	runtime.GC()
	return figuresNow()
}

// soakRest is how long nothing may have changed: all idle connections have had
// their time, and so has the longest timer that holds memory, the one of the
// pings of HTTP/2 connections, of 30 s.
const soakRest = 35

// rest waits until nothing changes any more.
func (s *soak) rest() soakFigures {
	last := atRest()
	for same, end := 0, time.Now().Add(3*time.Minute); same < soakRest; {
		require.True(s.t, time.Now().Before(end), "the program does not come to rest: %v", last)
		<-time.After(time.Second)
		now := atRest()
		if now.goroutines == last.goroutines && now.files == last.files {
			same++
		} else {
			same = 0
		}
		last = now
	}
	return last
}

// restAs is rest, and shows what runs if that is more than before.
func (s *soak) restAs(before soakFigures) soakFigures {
	last := s.rest()
	if last.goroutines > before.goroutines {
		stacks := make([]byte, 1<<20)
		s.t.Logf("%s", stacks[:runtime.Stack(stacks, true)])
	}
	if last.files > before.files {
		files, _ := filepath.Glob("/proc/self/fd/*")
		for _, f := range files {
			to, _ := os.Readlink(f)
			s.t.Log("open:", to)
		}
	}
	return last
}

func (s *soak) report(length time.Duration, before, after soakFigures) {
	total := int64(0)
	for i, l := range s.loads {
		n := s.done[i].Load()
		total += n
		s.t.Logf("%-22s %2d workers %9d done %5d cut", l.name, l.workers, n, s.cut[i].Load())
	}
	s.t.Logf("%v: %d exchanges, %d failed, %d reloads, %d kills", length, total, s.failed.Load(), s.reloads, s.kills)
	s.t.Logf("after the warm-up  %v", before)
	s.t.Logf("at most            %v", s.peak)
	s.t.Logf("at the end         %v", after)
}

// soakWorker is a client.
type soakWorker struct {
	*rand.Rand
	s      *soak
	client *http.Client
}

// soakMember is a member of the balancer that can be killed.
type soakMember struct {
	t    *testing.T
	name string
	addr string
	mu   sync.Mutex
	http *http.Server
	done chan struct{}
}

func newSoakMember(t *testing.T, name string) *soakMember {
	m := &soakMember{t: t, name: name, addr: "127.0.0.1:0"}
	m.start()
	t.Cleanup(m.kill)
	return m
}

func (m *soakMember) start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.http != nil {
		return
	}
	l, err := net.Listen("tcp", m.addr)
	for range 100 { // somebody may have been lent the port meanwhile
		if err == nil {
			break
		}
		<-time.After(50 * time.Millisecond)
		l, err = net.Listen("tcp", m.addr)
	}
	if err != nil {
		m.t.Errorf("member %s: %v", m.name, err)
		return
	}
	m.addr = l.Addr().String()
	srv, done := &http.Server{Handler: soakBackend}, make(chan struct{})
	m.http, m.done = srv, done
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
}

// kill closes the listener and every connection at once.
func (m *soakMember) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.http != nil {
		_ = m.http.Close()
		<-m.done
		m.http = nil
	}
}

// soakBytes is n bytes that can be checked, for any n up to a MiB.
func soakBytes(n int) string { return soakText[:n] }

var soakText = strings.Repeat("0123456789abcdef", 1<<16)

// soakBackend answers with as many bytes as n says, or with what it was sent;
// with "slow" in pieces. Below /cached/ answers may be stored. An upgrade makes it an echo.
var soakBackend = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		c, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, message, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, message) != nil {
				return
			}
		}
	}
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(body)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/cached/") {
		w.Header().Set("Cache-Control", "max-age=1")
	}
	n := 0
	_, _ = fmt.Sscan(r.URL.Query().Get("n"), &n)
	if r.URL.Query().Has("slow") {
		for at := 0; at < n; at += 1 << 14 {
			_, _ = io.WriteString(w, soakText[at:min(at+1<<14, n)])
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(time.Millisecond):
			}
		}
		return
	}
	_, _ = io.WriteString(w, soakBytes(n))
})
