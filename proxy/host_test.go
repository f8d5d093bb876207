package proxy

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseHost(t *testing.T) {
	for host, want := range map[string][2]string{
		"": {}, "a.test": {"a.test"}, "A.test:8080": {"A.test", "8080"}, "a.test:": {"a.test", ""}, "[::1]:80": {"::1", "80"}, "[v1.a:b]": {"v1.a:b"},
		"%41b:0": {"%41b", "0"}, "a:00000000080": {"a", "00000000080"},
	} {
		name, port, err := ParseHost(host)
		require.NoError(t, err, host)
		require.Equal(t, want, [2]string{name, port}, host)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _, _ = ParseHost("www.example.org:8080") }))
}

func TestNormalHost(t *testing.T) {
	for _, tc := range []struct{ scheme, host, want string }{
		{"http", "A.Test:80", "a.test"}, {"https", "A.Test:80", "a.test:80"}, {"https", "a.test:443", "a.test"}, {"wss", "a.test:443", "a.test"},
		{"http", "a.test:", "a.test"}, {"http", "a.test:0080", "a.test"}, {"http", "a.test:0081", "a.test:81"}, {"http", "a.test:000", "a.test:0"},
		{"http", "[0:0::0:1]:80", "[::1]"}, {"http", "[::FFFF:0102:0304]:81", "[::ffff:1.2.3.4]:81"}, {"http", "[V1.A]", "[v1.a]"},
		{"http", "", ""}, {"", "a.test:80", "a.test:80"}, {"http", "A b", "A b"}, {"http", "[fe80::1%Eth0]", "[fe80::1%Eth0]"}, {"http", "a.test.", "a.test."},
	} {
		require.Equal(t, tc.want, NormalHost(tc.scheme, tc.host), tc)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { NormalHost("http", "www.example.org:8080") }))
}

// TestFront: what a trusted proxy says of its client is told on, and stands in
// Location.
func TestFront(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // httptest's client
	for name, tc := range map[string]struct {
		trusted      []netip.Prefix
		proto, host  []string
		scheme, says string
	}{
		"nobody":         {nil, []string{"https"}, []string{"a.test"}, "http", "example.com"},
		"trusted":        {trusted, []string{"HTTPS"}, []string{"a.test:8443"}, "https", "a.test:8443"},
		"nothing said":   {trusted, nil, nil, "http", "example.com"},
		"lists":          {trusted, []string{"https, http"}, []string{"a.test, b.test"}, "http", "example.com"},
		"two fields":     {trusted, []string{"https", "http"}, []string{"a.test", "b.test"}, "http", "example.com"},
		"no such things": {trusted, []string{"javascript"}, []string{"a b"}, "http", "example.com"},
		"empty":          {trusted, []string{""}, []string{""}, "http", "example.com"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["X-Forwarded-Proto"], r.Header["X-Forwarded-Host"] = tc.proto, tc.host
		scheme, host := Front(r, tc.trusted)
		require.Equal(t, [2]string{tc.scheme, tc.says}, [2]string{scheme, host}, name)
		h := &Handler{Target: mustURL("http://back.test/"), TrustedProxies: tc.trusted, ForwardedField: true, Reverse: []ReverseRule{{Path: "/", URL: "http://back.test/"}}}
		var forwarded string
		h.Transport = roundTripFunc(func(r *http.Request) (*http.Response, error) {
			forwarded = r.Header.Get("Forwarded")
			return &http.Response{StatusCode: 302, ProtoMajor: 1, Header: http.Header{"Location": {"http://back.test/x"}}, Body: http.NoBody, Request: r}, nil
		})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, scheme+"://"+host+"/x", w.Header().Get("Location"), name)
		require.Contains(t, strings.ReplaceAll(forwarded, `"`, ""), "proto="+scheme+";host="+host, name)
	}
}
