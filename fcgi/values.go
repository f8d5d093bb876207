package fcgi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// The variables that an application may tell of itself, FastCGI 1.0 section
// 4.1.
const (
	MaxConns  = "FCGI_MAX_CONNS"  // connections it can serve at a time
	MaxReqs   = "FCGI_MAX_REQS"   // requests it can serve at a time
	MpxsConns = "FCGI_MPXS_CONNS" // "1" if one connection may carry several requests
)

// Values asks an application for its variables with FCGI_GET_VALUES, FastCGI
// 1.0 section 4.1, within the context's deadline or else the backend's Timeout.
// Those that it does not know are not in the answer: php-fpm tells MpxsConns
// alone. Without names, it is asked for MaxConns, MaxReqs and MpxsConns.
//
// No script is run, but a worker that is alive must answer, which makes it a
// health check that costs little:
//
//	balancer.Check{Func: func(ctx context.Context, m *balancer.Member) error {
//		_, err := fcgi.Values(ctx, m.Backend())
//		return err
//	}}
//
// The connection is one of its own, beyond those of the pool (see
// [backend.WithCheck]). An idle one is closed for it only if there is no answer
// for a while: it may have the child that is to answer. Errors are *exchange.Error.
func Values(ctx context.Context, b *backend.Backend, names ...string) (map[string]string, error) {
	if len(names) == 0 {
		names = []string{MaxConns, MaxReqs, MpxsConns}
	}
	var pairs []byte
	for _, name := range names {
		pairs = appendPair(pairs, name, "")
	}
	if len(pairs) > maxAligned {
		return nil, &exchange.Error{Op: exchange.OpRequest, Backend: b.String(), Status: http.StatusBadRequest, Err: errors.New("names of variables fill more than one record")}
	}
	query := appendRecord(nil, typeGetValues, 0, pairs)
	c, err := b.Get(backend.WithCheck(ctx))
	if err != nil {
		return nil, exchange.AcquireError(ctx, b, err)
	}
	hunger := originOf(b).hungry()
	defer hunger.feed()
	return valuesOver(ctx, c, query)
}

// valuesOver asks over c, and closes it.
func valuesOver(ctx context.Context, c *backend.Conn, query []byte) (map[string]string, error) {
	wait := c.Limits().Header
	if wait < 0 {
		wait = time.Hour
	}
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end))
	}
	_ = c.SetDeadline(time.Now().Add(wait))
	stop := context.AfterFunc(ctx, c.Abort)
	values, err := askValues(c, query)
	stop()
	name := c.Backend().String()
	c.Release(false)
	if err != nil {
		return nil, &exchange.Error{Op: exchange.OpHeader, Backend: name, Status: http.StatusServiceUnavailable, Resend: true, Err: err}
	}
	return values, nil
}

func askValues(c *backend.Conn, query []byte) (map[string]string, error) {
	if _, err := c.Turn(query); err != nil {
		return nil, err
	}
	head := make([]byte, headLength)
	if _, err := io.ReadFull(c.R, head); err != nil {
		return nil, fmt.Errorf("no answer to GET_VALUES: %w", err)
	}
	h, err := parseRecordHead(head)
	switch {
	case err != nil:
		return nil, err
	case h.kind != typeGetValuesResult || h.id != 0:
		return nil, malformed("answer of type %d to GET_VALUES", h.kind)
	}
	content := make([]byte, h.length+h.padding)
	if _, err := io.ReadFull(c.R, content); err != nil {
		return nil, err
	}
	return parseValues(content[:h.length])
}

// parseValues reads the content of a GET_VALUES_RESULT.
func parseValues(b []byte) (map[string]string, error) {
	values := make(map[string]string)
	for len(b) > 0 {
		name, value, rest, err := parsePair(b)
		if err != nil {
			return nil, malformed("%v", err)
		}
		values[name], b = value, rest
	}
	return values, nil
}
