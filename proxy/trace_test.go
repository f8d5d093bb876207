package proxy

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/accesslog"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestTraceLevels: each level tells what Apache's level of that name tells,
// and nothing of the levels below.
func TestTraceLevels(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		for _, _, ok := c.request(); ok; _, _, ok = c.request() {
			c.say("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nX-Secret: hidden\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	logOf := func(level slog.Level) string {
		var out bytes.Buffer
		h, b, _ := handlerFor(t, o.url())
		h.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))
		b.Logger = h.Logger
		m := Mux{Logger: h.Logger}
		m.Except("/static")
		m.Handle("/", h)
		front := httptest.NewServer(&m)
		for range 2 {
			resp, err := client(t).Get(front.URL + "/a/b")
			require.NoError(t, err)
			require.Equal(t, "ok", body(t, resp))
		}
		front.Close() // what is logged behind the answer is written now
		return out.String()
	}
	lines := []struct {
		level slog.Level
		text  string
	}{
		{slog.LevelDebug, `msg="backend: connection opened" backend=http://127.0.0.1:`},
		{exchange.LevelTrace1, `msg="proxy: rule fits" rule=/ path=/a/b exception=false`},
		{exchange.LevelTrace1, `msg="proxy: request mapped" path=/a/b to=http://127.0.0.1:`},
		{exchange.LevelTrace1, `msg="proxy: request done"`},
		{exchange.LevelTrace2, `msg="proxy: rule tried" rule=/static path=/a/b fits=false`},
		{exchange.LevelTrace2, `msg="backend: connection reused"`},
		{exchange.LevelTrace2, `msg="proxy: interim answer" status=103 passed=true`},
		{exchange.LevelTrace3, `msg="proxy: backend answered"`},
		{exchange.LevelTrace4, `msg="proxy: fields of the answer" names="[Content-Length X-Secret]"`},
	}
	for _, level := range []slog.Level{slog.LevelInfo, slog.LevelDebug, exchange.LevelTrace1, exchange.LevelTrace2, exchange.LevelTrace3, exchange.LevelTrace4} {
		got := logOf(level)
		for _, l := range lines {
			require.Equal(t, l.level >= level, strings.Contains(got, l.text), "level %v: %s in\n%s", level, l.text, got)
		}
		require.NotContains(t, got, "hidden")
	}
}

// TestPageKnowsTheStatus: a page can tell for which status it stands in.
func TestPageKnowsTheStatus(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		for _, _, ok := c.request(); ok; _, _, ok = c.request() {
			c.say("HTTP/1.1 418 Odd\r\nContent-Length: 0\r\n\r\n")
		}
	})
	h, _, _ := handlerFor(t, o.url())
	seen := 0
	h.ErrorOverride = &ErrorOverride{Page: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = exchange.RecordFrom(r.Context()).BackendStatus
		w.WriteHeader(200)
	})}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://front.test/", nil).WithContext(context.Background()))
	require.Equal(t, 418, w.Code)
	require.Equal(t, 418, seen)
}

func TestAccessLogSkips(t *testing.T) {
	for path, want := range map[string]string{"/a": "/a\n", "/health": ""} {
		var out bytes.Buffer
		l, err := accesslog.New(&out, "%U")
		require.NoError(t, err)
		l.Skip = func(r *http.Request) bool { return r.URL.Path == "/health" }
		l.Wrap(named("x")).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
		require.Equal(t, want, out.String())
	}
}
