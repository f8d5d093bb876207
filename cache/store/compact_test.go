package store

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/parsertest"
)

func TestCompactIsEqual(t *testing.T) {
	ttl := time.Second
	m := &Meta{
		Key: "http://example.org/", Status: 206, Length: 5, Tags: []string{"a", "", "b"}, Parts: []Part{{0, 2}}, TTL: &ttl,
		Header:      http.Header{"Etag": {`"a"`}, "X-Odd": {"", "1", "2"}},
		Trailer:     http.Header{"X-T": {"t"}},
		Vary:        http.Header{"X-None": {}},
		RequestTime: time.Unix(1, 0), ResponseTime: time.Unix(2, 3), Invalid: true,
	}
	m.SetSiblings(3)
	var got Meta
	got.Compact(m)
	require.Equal(t, m, &got)
}

func TestCostOfCompact(t *testing.T) {
	parsertest.Linear(t, map[string]parsertest.Input{
		"many values and tags": func(n int) func() {
			m := &Meta{Header: http.Header{"A": make([]string, n)}, Tags: make([]string, n)}
			return func() { new(Meta).Compact(m) }
		},
	})
}
