package exchange

import (
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
