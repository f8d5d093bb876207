package proxy

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/copybuf"
)

const (
	defaultReplayLimit = 32 << 10
	lingerLimit        = 256 << 10 // of an unread body that is taken off the connection
	lingerTime         = 500 * time.Millisecond
)

// requestBody stands between the client's body and the transport. It knows how
// much was read, keeps a bounded part for sending it again, and sees to it that
// nobody reads from the client once the handler has returned.
type requestBody struct {
	p       *passage
	from    io.Reader // the client's body, or an apartReader of it
	limits  *ClientLimits
	wait    clientWait  // for the client
	trailer http.Header // filled when the body has ended
	touched atomic.Bool // somebody has begun to read
	ended   atomic.Bool // all of it was read
	read    atomic.Int64
	current atomic.Pointer[bodyView]

	turn    baton // guards the rest, and reading from the client
	total   int64
	spent   time.Duration // waiting for the client
	kept    []byte
	spilled bool // more was read than is kept
	err     error
}

// bodyView is the body as one attempt sees it.
type bodyView struct {
	b    *requestBody
	read int64
}

var errViewClosed = errors.New("proxy: read on a closed request body")

func newRequestBody(p *passage) *requestBody {
	b := &requestBody{p: p, turn: newBaton(), from: p.in.Body, limits: p.h.limits()}
	b.wait.init(b)
	p.to.renews = &b.wait
	if !endsReads(p.w) {
		b.from = newApartReader(p.in.Body)
	}
	if p.in.ContentLength < 0 {
		b.trailer = make(http.Header)
	}
	return b
}

// view makes the body anew for an attempt; earlier views end.
func (b *requestBody) view() io.ReadCloser {
	v := &bodyView{b: b}
	b.current.Store(v)
	return v
}

// again is the GetBody of the outgoing request.
func (b *requestBody) again() (io.ReadCloser, error) {
	b.current.Store(nil)
	b.turn.take()
	defer b.turn.give()
	if b.spilled {
		return nil, exchange.ErrBodySent
	}
	return b.view(), nil
}

// Read reads what an earlier attempt has read, and then from the client.
func (v *bodyView) Read(dst []byte) (int, error) {
	b := v.b
	b.touched.Store(true)
	b.turn.take()
	defer b.turn.give()
	if b.current.Load() != v {
		return 0, errViewClosed
	}
	if v.read < b.total {
		n := copy(dst, b.kept[v.read:])
		v.read += int64(n)
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.receive(dst)
	b.keep(dst[:n])
	b.total += int64(n)
	b.read.Store(b.total)
	if length := b.p.in.ContentLength; err == nil && length > 0 && b.total >= length {
		b.ended.Store(true)
	}
	if err == io.EOF {
		b.finishTrailer()
		b.ended.Store(true)
	}
	b.err = err
	if b.current.Load() != v {
		return 0, errViewClosed // what was read is kept for the next view
	}
	v.read += int64(n)
	return n, err
}

// receive reads from the client, for as long as it may take.
func (b *requestBody) receive(dst []byte) (n int, err error) {
	limit := b.limits.body(b.spent, b.total)
	if limit <= 0 {
		b.wait.exceed()
	}
	begun := time.Now()
	if b.wait.begin(limit) {
		n, err = b.from.Read(dst)
	}
	if !b.wait.end() {
		return 0, exchange.ErrClientStalled
	}
	b.spent += time.Since(begun)
	return n, err
}

// stalled is told that the client has not sent for too long.
func (b *requestBody) stalled() { b.endRead(time.Unix(1, 0)) }

// endRead has the read that is under way end at t, and reports whether that can
// be done.
func (b *requestBody) endRead(t time.Time) bool {
	if apart, ok := b.from.(*apartReader); ok {
		apart.giveUp()
		return false
	}
	return http.NewResponseController(b.p.w).SetReadDeadline(t) == nil
}

// Close ends the view; the client's body stays open for the next.
func (v *bodyView) Close() error {
	v.b.current.CompareAndSwap(v, nil)
	return nil
}

// keep remembers data for another attempt, as long as it is within the limit.
func (b *requestBody) keep(data []byte) {
	limit := cmp.Or(b.p.h.ReplayLimit, defaultReplayLimit)
	if b.spilled || len(data) == 0 {
		return
	}
	if len(b.kept)+len(data) > limit {
		b.kept, b.spilled = nil, true
		return
	}
	b.kept = append(b.kept, data...)
}

// finishTrailer takes over the trailer fields, announced or not.
func (b *requestBody) finishTrailer() {
	if b.trailer == nil {
		return
	}
	filter := exchange.HopByHopOf(b.p.in.Header)
	for name, values := range b.p.in.Trailer {
		if b.p.passesTrailer(filter, name) {
			b.trailer[name] = values
		}
	}
}

// announceClientTrailer names the fields that the client's header announces, and
// that will pass. Rewrite has been.
func (p *passage) announceClientTrailer() {
	if p.body == nil || p.body.trailer == nil || len(p.in.Trailer) == 0 {
		return
	}
	filter := exchange.HopByHopOf(p.in.Header)
	for name := range p.in.Trailer {
		if p.passesTrailer(filter, name) {
			p.body.trailer[name] = nil
		}
	}
}

// unread reports whether a part of the body is still with the client.
func (b *requestBody) unread() bool { return b != nil && !b.ended.Load() }

// close closes the client's body, behind finish.
func (b *requestBody) close() {
	if apart, ok := b.from.(*apartReader); ok {
		apart.giveUp()
		b.turn.take()
		defer b.turn.give()
		apart.close()
		return
	}
	_ = b.p.in.Body.Close()
}

// finish makes sure that nobody reads any more. If a client of HTTP/1 has its
// answer, what it is still sending is taken off the connection, within limits,
// so that it can read the answer.
func (b *requestBody) finish(answered bool) {
	b.current.Store(nil)
	patient := b.wait.stop()
	if b.ended.Load() {
		return
	}
	if b.p.in.ProtoMajor != 1 {
		// An HTTP/2 server lets go of the rest of a stream by itself, and ends
		// a read that is under way. Waiting would keep the trailer back, and
		// flushing would tear an answer without a body, which gRPC needs whole.
		return
	}
	rc := http.NewResponseController(b.p.w)
	// A client that waits for a 100, which a read would send, sends nothing.
	// The server must not wait for it either before it closes.
	held := !b.touched.Load() && b.p.in.Header["Expect"] != nil
	linger := answered && patient && !held
	until := time.Now()
	if linger {
		_ = b.p.to.FlushError()
		until = until.Add(lingerTime)
	}
	linger = b.endRead(until) && linger
	b.turn.take() // a read that is under way ends by the deadline
	defer b.turn.give()
	if !linger || b.err != nil {
		return
	}
	lent := copybuf.Pool.Get().(*[copybuf.Size]byte)
	defer copybuf.Pool.Put(lent)
	for taken := 0; taken < lingerLimit; {
		n, err := b.p.in.Body.Read(lent[:])
		taken += n
		if err == io.EOF {
			_ = rc.SetReadDeadline(time.Time{})
		}
		if err != nil {
			return
		}
	}
}
