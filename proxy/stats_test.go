package proxy

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStatsOfAHandler: a handler tells the backends of its transport, made on
// first use or given.
func TestStatsOfAHandler(t *testing.T) {
	one := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	two := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	h := &Handler{Rewrite: func(pr *httputil.ProxyRequest) {
		pr.Out.URL.Scheme, pr.Out.URL.Host = "http", pr.In.URL.Query().Get("to")
	}}
	t.Cleanup(h.CloseIdleConnections)
	require.Empty(t, h.Stats())
	for _, o := range []*origin{one, two, two} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://front.test/?to="+o.url().Host, nil))
		require.Equal(t, 200, w.Code)
	}
	elected := make(map[string]int64)
	s := h.Stats()
	for _, one := range s {
		elected[one.Name] = one.Elected
		require.Positive(t, one.Received)
	}
	require.Equal(t, map[string]int64{one.url().String(): 1, two.url().String(): 2}, elected)
	require.Less(t, s[0].Name, s[1].Name)

	given, b, _ := handlerFor(t, one.url())
	given.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://front.test/", nil))
	require.Equal(t, b.String(), given.Stats()[0].Name)
	require.EqualValues(t, 1, given.Stats()[0].Elected)
	require.Nil(t, (&Handler{Transport: http.DefaultTransport}).Stats())
}
