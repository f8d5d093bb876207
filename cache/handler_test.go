package cache_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestRecordTellsOfTheCache: without a hook, around a Handler and inside it.
func TestRecordTellsOfTheCache(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "hello")
	}))
	defer origin.Close()
	target, err := url.Parse(origin.URL)
	require.NoError(t, err)
	for name, make := range map[string]func(*cache.Cache, *proxy.Transport) http.Handler{
		"around": func(c *cache.Cache, tr *proxy.Transport) http.Handler {
			return c.Wrap(&proxy.Handler{Target: target, Transport: tr})
		},
		"inside": func(c *cache.Cache, tr *proxy.Transport) http.Handler {
			return &proxy.Handler{Target: target, Transport: c.Transport(tr)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, tr := new(cache.Cache), new(proxy.Transport)
			defer tr.CloseIdleConnections()
			defer c.Close()
			var got []string
			o := &proxy.Observer{Done: func(_ *http.Request, rec *exchange.Record) { got = append(got, rec.Cache) }}
			h := o.Wrap(make(c, tr))
			for range 2 {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", "http://front.test/", nil))
				require.Equal(t, "hello", w.Body.String())
			}
			require.Equal(t, []string{"miss", "hit"}, got)
		})
	}
}

// TestClientLeavesHandlerWithCache: the fetch goes on behind the Handler's back,
// and must not write to what that has given away by then.
func TestClientLeavesHandlerWithCache(t *testing.T) {
	for range 20 {
		asked, answer := make(chan struct{}), make(chan struct{})
		origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(asked)
			<-answer
			w.Header().Set("Cache-Control", "max-age=60")
			_, _ = io.WriteString(w, "hello")
		}))
		target, err := url.Parse(origin.URL)
		require.NoError(t, err)
		c, tr := new(cache.Cache), new(proxy.Transport)
		stored := make(chan struct{})
		var once sync.Once
		var got exchange.Record
		h := &proxy.Handler{Target: target, Transport: c.Transport(tr), OnRecord: func(_ *http.Request, rec *exchange.Record) {
			once.Do(func() { close(answer) })
			got = *rec // while the answer comes in
			<-stored
		}}
		ctx, leave := context.WithCancel(context.Background())
		go func() {
			<-asked
			leave()
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for c.Stats().Stored == 0 {
				<-tick.C
			}
			close(stored)
		}()
		require.PanicsWithValue(t, http.ErrAbortHandler, func() {
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://front.test/", nil).WithContext(ctx))
		})
		require.Equal(t, exchange.StatusClientClosedRequest, got.Status)
		c.Close()
		tr.CloseIdleConnections()
		origin.Close()
	}
}
