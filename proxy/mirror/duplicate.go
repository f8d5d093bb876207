package mirror

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// answerLimit is how much of an answer is read before it is dropped, so that its
// connection can be used again.
const answerLimit = 256 << 10

// duplicate is the copy of one request.
type duplicate struct {
	t       *Transport
	out     *http.Request // without the body
	trailer http.Header   // of the request; filled when its body has ended

	mu   sync.Mutex // guards the rest
	held bool       // there is room for it
	open int        // collectors that may yet read the whole body
	done bool       // it is sent, or never will be
}

// newDuplicate takes from r all that may change once r has been answered.
func newDuplicate(t *Transport, r *http.Request) *duplicate {
	out := r.WithContext(exchange.Apart(r.Context()))
	u := *r.URL
	out.URL, out.Header = &u, r.Header.Clone()
	if out.Header == nil {
		out.Header = make(http.Header) // for Rewrite
	}
	out.Header.Del("Expect") // the body is here
	out.Body, out.GetBody, out.Trailer, out.TransferEncoding, out.Response = nil, nil, nil, nil, nil
	return &duplicate{t: t, out: out, trailer: r.Trailer}
}

// collector is the body of the request, of which it keeps what is read.
type collector struct {
	io.ReadCloser
	d      *duplicate
	length int64 // of the whole; not positive if it is not known

	kept  []byte
	ended bool // nothing is kept any more
}

// collect makes body, which is read from its begin, one that is kept.
func (d *duplicate) collect(body io.ReadCloser) io.ReadCloser {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.done && !d.held {
		d.held = d.t.take(d.out.Context())
	}
	c := &collector{ReadCloser: body, d: d, length: d.out.ContentLength, ended: d.done || !d.held}
	if !c.ended {
		d.open++
	}
	return c
}

// Read keeps what it reads, and sends the copy when that is all.
func (c *collector) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.ended {
		return n, err
	}
	if d.done {
		c.end()
		return n, err
	}
	if int64(len(c.kept))+int64(n) > d.t.maxBody() {
		d.t.tooLarge.Add(1)
		c.end()
		d.drop()
		return n, err
	}
	c.kept = append(c.kept, p[:n]...)
	switch {
	case c.length > 0 && int64(len(c.kept)) == c.length, c.length <= 0 && err == io.EOF:
		d.done = true
		d.send(c.kept)
		c.end()
	case err != nil:
		c.end()
	}
	return n, err
}

// Close gives the place of the copy back if the body was not read to its end.
func (c *collector) Close() error {
	c.d.mu.Lock()
	c.end()
	c.d.mu.Unlock()
	return c.ReadCloser.Close()
}

// end keeps nothing any more. The caller holds the lock.
func (c *collector) end() {
	if c.ended {
		return
	}
	c.ended, c.kept = true, nil
	d := c.d
	if d.open--; d.open == 0 && d.held && !d.done {
		d.held = false
		d.t.give()
	}
}

// drop gives the copy up. The caller holds the lock.
func (d *duplicate) drop() {
	if d.held && !d.done {
		d.t.give()
	}
	d.held, d.done = false, true
}

// abandon is drop for who does not hold the lock.
func (d *duplicate) abandon() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop()
}

// send sends the copy, for which there is room, on a goroutine of its own.
func (d *duplicate) send(body []byte) {
	cut := d.t.launch()
	if cut == nil {
		d.t.busy.Add(1)
		return
	}
	d.t.sent.Add(1)
	out := d.out
	if len(d.trailer) > 0 {
		out.Trailer = d.trailer.Clone() // complete, now that the body has ended
	}
	if len(body) == 0 && len(out.Trailer) == 0 {
		out.Body, out.ContentLength = http.NoBody, 0
	} else {
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		out.Body, _ = out.GetBody()
		if out.ContentLength == 0 {
			out.ContentLength = -1 // so it was meant
		}
	}
	go func() {
		ctx := out.Context()
		err := d.t.deliver(ctx, cut, out)
		if err != nil {
			d.t.failed.Add(1)
		}
		if cut.Err() == nil {
			d.t.report(ctx, err)
		}
		d.t.land()
	}()
}

// deliver sends a copy, and drops the answer.
func (t *Transport) deliver(ctx, cut context.Context, out *http.Request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if t.Timeout >= 0 {
		var over context.CancelFunc
		ctx, over = context.WithTimeout(ctx, cmp.Or(t.Timeout, DefaultTimeout))
		defer over()
	}
	defer context.AfterFunc(cut, cancel)()
	out = out.WithContext(ctx)
	if t.Rewrite != nil {
		t.Rewrite(out)
	}
	resp, err := t.To.RoundTrip(out)
	if err != nil || resp == nil || resp.Body == nil {
		return err
	}
	defer resp.Body.Close()
	defer context.AfterFunc(ctx, func() { _ = resp.Body.Close() })() // of a To that does not see to that
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return errors.New("the protocol was switched, which nobody has asked for")
	}
	_, err = io.CopyN(io.Discard, resp.Body, answerLimit)
	if err == io.EOF {
		return nil
	}
	return err
}
