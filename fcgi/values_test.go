package fcgi

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/proxy/exchange"
)

func TestValues(t *testing.T) {
	result := func(pairs []byte) []byte { return appendRecord(nil, typeGetValuesResult, 0, pairs) }
	for name, test := range map[string]struct {
		answer []byte
		want   map[string]string
	}{
		"all":               {result(appendPair(appendPair(nil, MaxConns, "4"), MpxsConns, "0")), map[string]string{MaxConns: "4", MpxsConns: "0"}},
		"none":              {result(nil), map[string]string{}},
		"padding is cut":    {result([]byte{1, 1, 'a', 'b'})[:14], nil},
		"length lies":       {result([]byte{1, 200, 0, 0, 'a', 'b'}), nil},
		"another type":      {appendRecord(nil, typeUnknownType, 0, make([]byte, 8)), nil},
		"of a request":      {appendRecord(nil, typeGetValuesResult, 1, nil), nil},
		"closed at once":    {nil, nil},
		"another version":   {append([]byte{2}, result(nil)[1:]...), nil},
		"closed in a while": {result(nil)[:5], nil},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan []byte, 2)
			_, tr := newPeer(t, func(c *peerConn, _ int) {
				b := make([]byte, headLength+len(MaxConns)+len(MpxsConns)+len(MaxReqs)+6)
				_, _ = io.ReadFull(c, b)
				asked <- b
				_, _ = c.Write(test.answer)
			})
			values, err := Values(context.Background(), tr.Backend)
			b := <-asked
			require.Equal(t, []byte{1, byte(typeGetValues), 0, 0}, b[:4])
			if test.want == nil {
				var e *exchange.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, http.StatusServiceUnavailable, e.Status)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, values)
		})
	}
}

func TestValuesEndsWithItsContext(t *testing.T) {
	_, tr := newPeer(t, func(c *peerConn, _ int) { _, _ = io.Copy(io.Discard, c) })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := Values(ctx, tr.Backend)
	require.Error(t, err)
	require.Zero(t, tr.Backend.Stats().Open)
}

func TestValuesOfTooManyNames(t *testing.T) {
	_, tr := newPeer(t, func(*peerConn, int) {})
	_, err := Values(context.Background(), tr.Backend, string(make([]byte, 1<<16)))
	var e *exchange.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, http.StatusBadRequest, e.Status)
}

// php-fpm tells its variables, over connections that a request has used too,
// which need not wait for a child.
func TestValuesOfPHP(t *testing.T) {
	onBoth(t, programs.PHPFPMOptions{Children: 1}, func(t *testing.T, f *phpFPM) {
		f.AddFile("ok.php", `<?php echo "ok";`)
		tr := f.transport(t)
		s, _ := f.front(t, tr)
		for range 2 {
			values, err := Values(context.Background(), tr.Backend)
			require.NoError(t, err)
			require.Equal(t, "0", values[MpxsConns])
			values, err = Values(context.Background(), tr.Backend, "NOBODY_KNOWS_IT")
			require.NoError(t, err)
			require.Empty(t, values)
			_, body := get(t, s.Client(), s.URL+"/ok.php") // leaves an idle connection that has the only child
			require.Equal(t, "ok", body)
		}
	})
}

// As the health check of a member, it finds php-fpm's end.
func TestValuesAsHealthCheck(t *testing.T) {
	f := startPHPFPM(t, programs.PHPFPMOptions{Children: 2})
	tr := f.transport(t)
	check := &balancer.Check{Func: func(ctx context.Context, m *balancer.Member) error {
		_, err := Values(ctx, m.Backend())
		return err
	}, Interval: 20 * time.Millisecond}
	b, err := balancer.New(balancer.Config{Name: "php"}, balancer.MemberConfig{URL: "fcgi://php", RoundTripper: tr, Backend: tr.Backend, Check: check})
	require.NoError(t, err)
	defer b.Close()
	passes := func() bool { return b.Stats().Members[0].Passes > 1 }
	fails := func() bool { return b.Stats().Members[0].CheckFailed }
	require.Eventually(t, passes, 10*time.Second, 10*time.Millisecond)
	f.Stop()
	require.Eventually(t, fails, 10*time.Second, 10*time.Millisecond)
}
