package disk

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy/parsertest"
)

// What is read back from a store.
func TestCostOfRecords(t *testing.T) {
	parsertest.Linear(t, map[string]parsertest.Input{
		"many fields": func(n int) func() {
			h, vary := make(http.Header), make(http.Header)
			for i := range n / 16 {
				h["X-"+time.Duration(i).String()] = []string{"v"}
				vary["Y-"+time.Duration(i).String()] = nil
			}
			b, err := appendRecord(nil, 1, bodySums{}, &store.Meta{Header: h, Vary: vary})
			require.NoError(t, err)
			return func() { _, _, _ = parseRecord(b, 1) }
		},
		"many values, tags and parts": func(n int) func() {
			m := &store.Meta{Header: http.Header{"A": make([]string, n)}, Tags: make([]string, n), Parts: make([]store.Part, n)}
			b, err := appendRecord(nil, 1, bodySums{}, m)
			require.NoError(t, err)
			return func() { _, _, _ = parseRecord(b, 1) }
		},
	})
}
