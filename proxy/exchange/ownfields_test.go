package exchange

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOwnFields(t *testing.T) {
	for name, c := range map[string]struct {
		noted [][2]string
		from  http.Header
		want  http.Header
	}{
		"nothing noted": {nil, http.Header{"Via": {"1.1 a"}}, http.Header{"Via": {"1.1 a"}}},
		"the only line": {[][2]string{{"X-Cache", "HIT"}}, http.Header{"X-Cache": {"HIT"}}, http.Header{}},
		"one of two that are the same": {
			[][2]string{{"Set-Cookie", "R=a; Path=/"}},
			http.Header{"Set-Cookie": {"R=a; Path=/", "S=1", "R=a; Path=/"}}, http.Header{"Set-Cookie": {"R=a; Path=/", "S=1"}},
		},
		"a cookie whose attributes were mapped": {
			[][2]string{{"Set-Cookie", "R=a; Path=/; HttpOnly"}},
			http.Header{"Set-Cookie": {"S=1", "R=a; Path=/public/; HttpOnly"}}, http.Header{"Set-Cookie": {"S=1"}},
		},
		"a cookie of another value": {
			[][2]string{{"Set-Cookie", "R=a"}},
			http.Header{"Set-Cookie": {"R=b", "R=ab", "S=R=a"}}, http.Header{"Set-Cookie": {"R=b", "R=ab", "S=R=a"}},
		},
		"the end of a list": {
			[][2]string{{"Via", "1.1 b"}, {"Via", "1.1 c"}},
			http.Header{"Via": {"1.0 x", "1.1 a, 1.1 b, 1.1 c"}}, http.Header{"Via": {"1.0 x", "1.1 a"}},
		},
		"not any more there": {[][2]string{{"Via", "1.1 b"}}, http.Header{"A": {"1"}}, http.Header{"A": {"1"}}},
	} {
		ctx, outer := CollectOwnFields(t.Context())
		ctx, inner := CollectOwnFields(ctx)
		for _, n := range c.noted {
			NoteOwnField(ctx, n[0], n[1])
		}
		before := c.from.Clone()
		for _, o := range []*OwnFields{outer, inner} {
			require.Equal(t, c.want, o.Without(c.from), name)
			require.Equal(t, before, c.from, "%s: it stays as it is", name)
		}
	}
	NoteOwnField(context.Background(), "X", "nobody collects")
}
