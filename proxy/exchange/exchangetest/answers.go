package exchangetest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"path"
	"slices"
	"strings"
	"time"
)

// answerChecks are the answers that are unlike others.
func answerChecks() []check {
	return []check{
		{name: "HEAD", run: head},
		{name: "answers without content", run: noContent},
		{name: "answer before the upload is read", run: func(k *kit) { earlyAnswer(k, nil, nil) }},
		{name: "answer when nothing can be sent any more", run: func(k *kit) { earlyAnswer(k, k.silence, nil) }},
		{name: "answer that goes on when nothing can be sent any more", run: func(k *kit) { earlyAnswer(k, nil, k.silence) }},
		{name: "interim answers", run: interim},
		{name: "upgrade", run: upgrade},
	}
}

// wholeAnswers: requests are answered, one after the other over the same
// connection.
func wholeAnswers(k *kit) {
	ctx := context.Background()
	for _, length := range []bool{true, false} {
		k.set(answersWith(length))
		for _, r := range []*http.Request{
			k.request(ctx, http.MethodGet), k.upload(ctx, 100), k.request(ctx, http.MethodGet),
			k.upload(ctx, 1<<20), k.request(ctx, http.MethodGet),
		} {
			k.whole(r)
			time.Sleep(limit / 10)
		}
	}
	if n := k.dialled(); n != 1 && !k.p.Single {
		k.fail("%d connections were made for requests that came one after the other", n)
	}
}

// dialled returns how many connections there were to the backend's address.
func (k *kit) dialled() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.near {
		if c.main {
			n++
		}
	}
	return n
}

// empty wants the answer to r to have no body, and the connection to be fit for
// the next request.
func (k *kit) empty(r *http.Request, status int) *http.Response {
	resp, err := k.roundTrip(r)
	if err != nil {
		k.fail("%s: %w", r.Method, err)
	}
	if resp.StatusCode != status {
		k.fail("%s: the status is %d, not %d", r.Method, resp.StatusCode, status)
	}
	switch got, err := k.read(resp, all); {
	case err != nil:
		k.fail("%s %d: reading the body: %w", r.Method, status, err)
	case got != "":
		k.fail("%s %d: the body is %.60q", r.Method, status, got)
	}
	_ = resp.Body.Close()
	k.goesOn()
	if n := k.dialled(); n != 1 && !k.p.Single {
		k.fail("%s %d: the connection was not used again", r.Method, status)
	}
	return resp
}

func head(k *kit) {
	r := k.request(context.Background(), http.MethodHead)
	if resp := k.empty(r, http.StatusOK); resp.ContentLength >= 0 && resp.ContentLength != BodySize {
		k.fail("the length is %d, not %d", resp.ContentLength, BodySize)
	}
}

func noContent(k *kit) {
	for _, status := range []int{http.StatusNoContent, http.StatusNotModified} {
		k.set(answersEmpty(status))
		k.empty(k.request(context.Background(), http.MethodGet), status)
	}
}

// earlyAnswer: the backend answers a long upload, and reads no more of it. Before
// the answer, and between its head and its body, something may happen.
func earlyAnswer(k *kit, before, between func()) {
	k.set(func(k *kit, c *farConn, r *http.Request) bool {
		if inUpload(c, r) != nil {
			return false
		}
		if before != nil {
			before()
		}
		if c.s.WriteHead(http.StatusForbidden, http.Header{"Content-Length": {"5"}}) != nil {
			return false
		}
		if between != nil {
			k.pause()
			between()
			time.Sleep(limit / 20)
		}
		if c.s.WriteBody([]byte("early")) != nil || c.s.WriteEnd() != nil {
			return false
		}
		return k.stall(c)
	})
	begun := time.Now()
	resp, err := k.roundTrip(k.upload(context.Background(), big))
	if err != nil {
		k.fail("%w", err)
	}
	if resp.StatusCode != http.StatusForbidden {
		k.fail("the status is %d, not 403", resp.StatusCode)
	}
	if got, err := k.read(resp, all); err != nil || got != "early" {
		k.fail("the body is %q, %v", got, err)
	}
	_ = resp.Body.Close()
	if took := time.Since(begun); took > limit/5 {
		k.fail("the answer took %v", took)
	}
	k.goesOn()
}

// resultUnless waits for the end of RoundTrip, unless the backend says that the
// protocol has no such thing.
func (k *kit) resultUnless(done <-chan exchanged, cancel func(), lacks string) (*http.Response, error) {
	result := make(chan exchanged, 1)
	select {
	case <-k.reached:
		cancel()
		_, _ = k.result(done)
		k.lacks(lacks)
	case e := <-done:
		result <- e
	case <-time.After(patience):
	}
	return k.result(result)
}

// interim: 1xx answers reach the hook of httptrace, in order.
func interim(k *kit) {
	k.set(func(k *kit, c *farConn, r *http.Request) bool {
		s, ok := c.s.(InterimServer)
		if !ok {
			k.at()
			k.stall(c)
			return false
		}
		for i := range 3 {
			if s.WriteInterim(http.StatusEarlyHints, http.Header{"Link": {fmt.Sprint(i)}}) != nil {
				return false
			}
		}
		return answersWhole(k, c, r)
	})
	var got []string
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := k.request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			got = append(got, fmt.Sprint(code, " ", http.Header(h).Get("Link")))
			return nil
		},
	}), http.MethodGet)
	resp, err := k.resultUnless(k.send(r), cancel, "the Server has no WriteInterim")
	if err != nil {
		k.fail("%w", err)
	}
	k.right(r, resp)
	if !slices.Equal(got, []string{"103 0", "103 1", "103 2"}) {
		k.fail("the interim answers %q were passed on", got)
	}
}

// upgrade: a 101 answer has a body to read from and to write to.
func upgrade(k *kit) {
	k.set(func(k *kit, c *farConn, r *http.Request) bool {
		s, ok := c.s.(UpgradeServer)
		if !ok {
			k.at()
			k.stall(c)
			return false
		}
		rw, err := s.WriteUpgrade(http.Header{"Upgrade": {"echo"}, "Connection": {"Upgrade"}})
		if err == nil {
			_, _ = io.Copy(rw, rw)
		}
		return false
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := k.request(ctx, http.MethodGet)
	r.Header.Set("Upgrade", "echo")
	r.Header.Set("Connection", "Upgrade")
	resp, err := k.resultUnless(k.send(r), cancel, "the Server has no WriteUpgrade")
	if err != nil {
		k.fail("%w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		k.fail("the status is %d, not 101", resp.StatusCode)
	}
	rw, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		k.fail("the body of the answer 101 is no io.ReadWriteCloser")
	}
	sent := strings.Repeat(path.Base(r.URL.Path), 1000)
	k.work.Go(func() { _, _ = io.WriteString(rw, sent) })
	if got, err := k.read(resp, int64(len(sent))); err != nil || got != sent {
		k.fail("what was sent to the end of %d bytes comes back as %d, %v", len(sent), len(got), err)
	}
	if err := rw.Close(); err != nil {
		k.fail("closing the body: %w", err)
	}
	k.goesOn()
}
