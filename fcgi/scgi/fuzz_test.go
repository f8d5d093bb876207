package scgi

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/fcgi/internal/cgi"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/parsertest"
)

// FuzzRequest sends any variables; the application gets them as they are, or, if
// one has a NUL, nothing.
func FuzzRequest(f *testing.F) {
	f.Add("A", "b", "LONG", strings.Repeat("x", 300), int64(5))
	f.Add("", "", "A", "\x00", int64(-1))
	f.Add("CONTENT_LENGTH", "7", "A\x00B", "", int64(0))
	f.Fuzz(func(t *testing.T, name, value, other, more string, length int64) {
		var p cgi.Params
		p.Set(name, value)
		p.Set(other, more)
		want := map[string]string{}
		for name, value := range p.All {
			want[name] = value
		}
		b, err := appendRequest(nil, &p, length)
		if err != nil {
			require.Equal(t, http.StatusInternalServerError, exchange.StatusOf(err))
			require.Contains(t, name+value+other+more, "\x00")
			return
		}
		r := bufio.NewReader(bytes.NewReader(b))
		env, err := readVariables(r)
		require.NoError(t, err)
		require.Zero(t, r.Buffered())
		want["CONTENT_LENGTH"] = env["CONTENT_LENGTH"]
		require.Equal(t, want, env)
	})
}

// TestCost: what is sent costs no more than its length.
func TestCost(t *testing.T) {
	inputs := make(map[string]parsertest.Input)
	for name, text := range map[string]string{"letters": "x", "NUL": "\x00", "commas": ","} {
		inputs[name] = func(n int) func() {
			var p cgi.Params
			for i := range 64 {
				p.Add("A"+strings.Repeat("B", i), strings.Repeat(text, n/64))
			}
			return func() { _, _ = appendRequest(nil, &p, 0) }
		}
	}
	parsertest.Linear(t, inputs)
}
