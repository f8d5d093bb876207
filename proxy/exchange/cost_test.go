package exchange

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/parsertest"
)

// TestCost: nothing that a client or a backend sends costs more than its
// length.
func TestCost(t *testing.T) {
	inputs := make(map[string]parsertest.Input)
	add := func(name, text string, work func(s string)) {
		inputs[name+" "+text] = func(n int) func() {
			s := strings.Repeat(text, n/len(text))
			return func() { work(s) }
		}
	}
	for _, text := range []string{"A:\r\n", "A: b\r\n c\r\n", "A: b\n \n", ":", "\n"} {
		add("fields", text, func(s string) { _, _ = ParseFields(s, nil) })
		add("folded", text, func(s string) { _, _ = ParseFields("A: b\r\n "+s, nil) })
	}
	for _, text := range []string{"0,", ",", " "} {
		add("length", text, func(s string) { _, _ = ParseContentLength([]string{"0", s}) })
	}
	for _, text := range []string{"a.", ":", "[", "%41", "::"} {
		add("host", text, func(s string) { _, _, _ = ParseHost(s) })
		add("host in brackets", text, func(s string) { _, _, _ = ParseHost("[" + s + "]:80") })
		add("normal host", text, func(s string) { NormalHost("http", s) })
	}
	for _, text := range []string{",", " \t", "a,", "keep-alive,"} {
		add("Connection", text, func(s string) { HopByHopOf(http.Header{"Connection": {s}}) })
	}
	parsertest.Linear(t, inputs)
}

// FuzzFields: what is read of a block is what may stand in a message, and reads
// the same again.
func FuzzFields(f *testing.F) {
	for _, s := range []string{"A: b\r\n\r\n", "A: b\n c\nB:\n", "A : b\r\n", "A: \x00\r\n", ": b\n", "A: b\r\n\r\nrest"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, block string) {
		h, err := ParseFields(block, nil)
		if err != nil {
			require.True(t, errors.Is(err, ErrMalformed), "%v", err)
			return
		}
		var again strings.Builder
		require.NoError(t, h.Write(&again))
		same, err := ParseFields(again.String(), nil)
		require.NoError(t, err)
		require.Equal(t, h, same)
		for _, values := range h {
			for _, v := range values {
				require.False(t, strings.ContainsAny(v, "\r\n\x00"), "%q", v)
			}
		}
	})
}
