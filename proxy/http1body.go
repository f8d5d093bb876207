package proxy

import (
	"io"
	"net/http"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/http1"
)

// bodyFraming is an attempt in the body of its answer.
type bodyFraming attempt

// beginBody begins the body of an answer.
func (x *attempt) beginBody(f http1.Framing, length int64, keep bool) {
	x.framing, x.keep = f, keep
	switch f {
	case http1.FramingChunked:
		x.chunks.Lim, length = x.t.limits(), 0
	case http1.FramingClose:
		length = -1
	}
	sender := x.sender
	if x.r.ContentLength <= 0 {
		sender = nil // it may be a conversation, where both wait
	}
	x.body.Init((*bodyFraming)(x), x.c, sender, length)
	x.resp.Body = &x.body
}

// Next is part of [exchange.Framing].
func (x *bodyFraming) Next(p []byte) (used int, content int64, err error) {
	if x.framing == http1.FramingChunked {
		return x.chunks.Next(p)
	}
	return 0, 0, io.EOF
}

// End is part of [exchange.Framing].
func (x *bodyFraming) End(err error, reusable bool) error {
	if err == io.EOF {
		x.mergeTrailer()
		if (*attempt)(x).release(reusable && x.keep) || x.framing != http1.FramingClose {
			return io.EOF
		}
	}
	return (*attempt)(x).fail(&exchange.Error{Op: exchange.OpBody, Err: http1.Unexpected(err)})
}

func (x *bodyFraming) mergeTrailer() {
	if len(x.chunks.Trailer) == 0 {
		return
	}
	resp := &x.resp
	if resp.Trailer == nil {
		resp.Trailer = make(http.Header, len(x.chunks.Trailer))
	}
	for name, values := range x.chunks.Trailer {
		resp.Trailer[name] = values
	}
}

// Rest is part of [exchange.Framing].
func (x *bodyFraming) Rest(int64) bool {
	return x.keep && x.sender.Settled() && x.r.Context().Err() == nil
}

// Drop is part of [exchange.Framing].
func (x *bodyFraming) Drop() { (*attempt)(x).release(false) }
