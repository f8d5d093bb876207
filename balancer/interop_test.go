package balancer

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/proxy/backend"
)

// TestSequenceOfHTTPD: the same members with the same factors are chosen in the
// same order by the real httpd and by us.
func TestSequenceOfHTTPD(t *testing.T) {
	const requests = 24
	var backends []string
	for i := range 4 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, string(rune('a'+i)))
		}))
		t.Cleanup(s.Close)
		backends = append(backends, s.URL)
	}
	cases := []struct {
		method  string
		factors []float64
		flags   []string
	}{
		{"byrequests", []float64{1, 1, 1}, nil},
		{"byrequests", []float64{3, 2, 1}, nil},
		{"byrequests", []float64{1, 1, 1, 2}, nil},
		{"byrequests", []float64{5, 1}, nil},
		{"byrequests", []float64{7, 3}, nil},
		{"byrequests", []float64{1.25, 1, 2.5}, nil},
		{"bybusyness", []float64{3, 2, 1}, nil},
		{"byrequests", []float64{1, 1, 1}, []string{"", "", "H"}},
		{"byrequests", []float64{1, 1, 1}, []string{"", "D", "R"}},
		{"byrequests", []float64{1, 1, 1, 1}, []string{"N", "", "R", "R"}},
		{"byrequests", []float64{1, 2, 1}, []string{"D", "S", "H"}},
	}
	var conf strings.Builder
	for i, c := range cases {
		fmt.Fprintf(&conf, "<Proxy balancer://c%d>\n", i)
		for j, f := range c.factors {
			fmt.Fprintf(&conf, "BalancerMember %s loadfactor=%v", backends[j], f)
			if c.flags != nil && c.flags[j] != "" {
				fmt.Fprintf(&conf, " status=+%s", c.flags[j])
			}
			conf.WriteString("\n")
		}
		fmt.Fprintf(&conf, "ProxySet lbmethod=%s\n</Proxy>\nProxyPass /c%d/ balancer://c%d/\n", c.method, i, i)
	}
	httpd := programs.HTTPD(t, "proxy proxy_http proxy_balancer slotmem_shm lbmethod_byrequests lbmethod_bybusyness lbmethod_bytraffic", conf.String())
	client := &http.Client{}
	defer client.CloseIdleConnections()
	for i, c := range cases {
		t.Run(fmt.Sprint(c.method, c.factors, c.flags), func(t *testing.T) {
			m, err := MethodByName(c.method)
			require.NoError(t, err)
			var list []MemberConfig
			for j, f := range c.factors {
				mc := MemberConfig{URL: backends[j], LoadFactor: f}
				if c.flags != nil {
					mc.Flags, err = backend.ParseFlags(c.flags[j], 0)
					require.NoError(t, err)
				}
				list = append(list, mc)
			}
			b := newTest(t, Config{Method: m}, list...)
			var theirs, ours string
			for range requests {
				resp, err := client.Get(fmt.Sprintf("http://%s/c%d/", httpd.Addr, i))
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				_ = resp.Body.Close()
				require.Equal(t, 200, resp.StatusCode)
				theirs += string(body)
				ours += send(t, b)
			}
			t.Logf("httpd %s", theirs)
			require.Equal(t, theirs, ours)
		})
	}
}
