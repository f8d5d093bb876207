package manager

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/balancer"
)

// FuzzChange: a change that is refused changes nothing, and one that is made
// leaves a balancer whose snapshot can be restored.
func FuzzChange(f *testing.F) {
	f.Add("b=app&w=one&w_lf=2.5&w_status_D=0&w_status_D=1", false)
	f.Add("b_wyes=1&b_nwrkr=http://127.0.0.1:9/&enable=1", false)
	f.Add(`{"b":"app","b_tmo":1.5,"b_ss":"SID|sid","b_sforce":true}`, true)
	f.Fuzz(func(t *testing.T, body string, isJSON bool) {
		b, err := balancer.New(balancer.Config{Name: "app"}, balancer.MemberConfig{
			Name: "one", URL: "http://127.0.0.1:1", RoundTripper: empty{}, Flags: balancer.Stopped, Check: &balancer.Check{Method: "GET"},
		})
		require.NoError(t, err)
		defer b.Close()
		m := New(b)
		m.setup()
		kind := "application/x-www-form-urlencoded"
		if isJSON {
			kind = "application/json"
			body = strings.Replace(body, "{", `{"nonce":"`+m.nonce(b)+`","b":"app",`, 1)
		} else {
			body += "&" + url.Values{"b": {"app"}, "nonce": {m.nonce(b)}}.Encode()
		}
		before := b.Snapshot()
		r := httptest.NewRequest("POST", "http://front.test/", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		m.ServeHTTP(w, r)
		if w.Code >= http.StatusBadRequest {
			require.Equal(t, before, b.Snapshot())
			return
		}
		require.NoError(t, b.Restore(b.Snapshot()))
	})
}
