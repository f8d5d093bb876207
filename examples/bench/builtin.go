package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// exchangeTime is how long one request of the built-in load may take.
const exchangeTime = 20 * time.Second

// builtin is the loader for where wrk is not installed: one goroutine for each
// connection. Requests that are under way when the time is over are finished.
func builtin(ctx context.Context, _, addr string, w *workload, connections int, d time.Duration) (load, error) {
	workers := make([]loadWorker, connections)
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range workers {
		workers[i] = *newLoadWorker(w, addr, w.origin)
		wg.Go(func() { workers[i].run(ctx, begin.Add(d)) })
	}
	wg.Wait()
	l := load{took: time.Since(begin)}
	var all []time.Duration
	var errs []error
	for i := range workers {
		all = append(all, workers[i].took...)
		l.failed += workers[i].failed
		errs = append(errs, workers[i].err)
	}
	l.requests = int64(len(all))
	if err := ctx.Err(); err != nil {
		return l, err
	}
	if l.requests == 0 {
		return l, errors.Join(errs...)
	}
	slices.Sort(all)
	l.p99 = all[(len(all)-1)*99/100]
	return l, nil
}

func newLoadWorker(w *workload, addr, origin string) *loadWorker {
	l := &loadWorker{addr: addr, origin: origin, want: w.want, request: rawRequest(w, addr)}
	if w.family.webSockets {
		l.webSocket = w.path
	}
	return l
}

// rawRequest returns the bytes of the workload's request.
func rawRequest(w *workload, host string) []byte {
	if w.family.webSockets {
		return wsMessage(w.send)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", w.method, w.path, host)
	if w.send > 0 {
		fmt.Fprintf(&b, "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", w.send)
	}
	b.WriteString("\r\n")
	b.Write(bytes.Repeat([]byte("x"), w.send))
	return b.Bytes()
}

// loadWorker is one connection of the built-in load.
type loadWorker struct {
	addr      string
	origin    string // a tunnel leads there
	webSocket string // path of one; empty for HTTP
	request   []byte
	want      int64
	took      []time.Duration
	failed    int64
	err       error // of the last that failed
}

// run sends requests until end, and at least one. A connection that fails is
// dialled anew, a few times.
func (l *loadWorker) run(ctx context.Context, end time.Time) {
	for {
		err := l.connection(ctx, end)
		if err == nil {
			return
		}
		l.failed++
		l.err = err
		if l.failed == 10 || ctx.Err() != nil || !time.Now().Before(end) {
			return
		}
	}
}

// connection sends one request, and more until end.
func (l *loadWorker) connection(ctx context.Context, end time.Time) error {
	c, err := (&net.Dialer{Timeout: exchangeTime}).DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	r := bufio.NewReaderSize(c, 64<<10)
	if l.origin != "" {
		_ = c.SetDeadline(time.Now().Add(exchangeTime))
		if err := openTunnel(c, r, l.origin); err != nil {
			return err
		}
	}
	if l.webSocket != "" {
		_ = c.SetDeadline(time.Now().Add(exchangeTime))
		if err := openWebSocket(c, r, l.addr, l.webSocket); err != nil {
			return err
		}
	}
	for now := time.Now(); ; {
		_ = c.SetDeadline(now.Add(exchangeTime))
		if err := l.exchange(c, r); err != nil {
			return err
		}
		then := time.Now()
		l.took = append(l.took, then.Sub(now))
		if now = then; !now.Before(end) {
			return nil
		}
	}
}

func (l *loadWorker) exchange(c net.Conn, r *bufio.Reader) error {
	if _, err := c.Write(l.request); err != nil {
		return err
	}
	if l.webSocket != "" {
		return readWSMessage(r, l.want)
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || n != l.want {
		return fmt.Errorf("answered %s with %d bytes", resp.Status, n)
	}
	return nil
}
