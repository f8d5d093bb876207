package modssl

import (
	"crypto/tls"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/proxy/parsertest"
)

// cipherStrings are those of files that people publish, and of OpenSSL's manual.
var cipherStrings = []string{
	"DEFAULT", "ALL", "HIGH:!aNULL", "HIGH:!aNULL:!MD5", "HIGH:MEDIUM:!MD5:!RC4:!3DES", "EECDH+AESGCM:EDH+AESGCM", "AES256+EECDH:AES256+EDH:!aNULL:!eNULL",
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384",
	"kECDHE:-AES128:AES128-SHA", "ALL:!RSA", "ALL:!kRSA:!SHA1", "aECDSA", "ECDHE+aRSA:!SHA", "TLSv1.2:!SHA256:!AESGCM", "SSLv3", "TLSv1", "CHACHA20", "AES128:AES256", "AESGCM:+AES128@STRENGTH", "HIGH !aNULL !kRSA", "HIGH,!SHA;!SHA256",
	"ALL:-HIGH:ECDHE-RSA-AES256-SHA", "!AES:ALL", "SHA256", "EECDH+ECDSA+AESGCM EECDH+aRSA+AESGCM EECDH !RC4", "HIGH:-kRSA:kRSA+AESGCM", "FIPS:!SHA", "ECDH+AESGCM:DH+AESGCM:RSA+AESGCM:!aNULL:!MD5:!DSS",
}

// TestCiphersOfOpenSSL: a cipher string leaves the suites that openssl says, of
// those that Go has.
func TestCiphersOfOpenSSL(t *testing.T) {
	program := programs.Find(t, "openssl", "openssl")
	for _, text := range cipherStrings {
		if strings.Contains(text, "FIPS") {
			continue // its meaning belongs to how OpenSSL was built
		}
		out, err := exec.Command(program, "ciphers", text).Output()
		require.NoError(t, err, text)
		var want []string
		for _, s := range suites {
			if slices.Contains(strings.Split(strings.TrimSpace(string(out)), ":"), s.name) {
				want = append(want, s.name)
			}
		}
		c, err := ParseCiphers(text)
		require.NoError(t, err, text)
		var got []string
		for _, id := range c.IDs {
			name, _ := CipherName(id)
			got = append(got, name)
		}
		require.Equal(t, want, got, text)
	}
}

func TestCiphers(t *testing.T) {
	for _, tc := range []struct {
		text    string
		count   int
		missing string
		level   int
		err     string
	}{
		{"DEFAULT@SECLEVEL=0", 0, "", -1, "none of the suites"},
		{"DEFAULT:@SECLEVEL=0", 17, "", 0, ""},
		{"HIGH:@SECLEVEL=9", 0, "", 0, "is not known"},
		{"AES128-SHA:CAMELLIA128-SHA:Nonsense:CAMELLIA128-SHA", 1, "CAMELLIA128-SHA Nonsense", -1, ""},
		{"HIGH:!Nonsense", 17, "", -1, ""},
		{"RC4:3DES:ADH", 0, "", -1, "none of the suites"},
		{"", 0, "", -1, "none of the suites"},
		{"!", 0, "", -1, "none of the suites"},
		{"PROFILE=SYSTEM", 17, "", -1, ""},
	} {
		c, err := ParseCiphers(tc.text)
		if tc.err != "" {
			require.ErrorContains(t, err, tc.err, tc.text)
			continue
		}
		require.NoError(t, err, tc.text)
		require.Len(t, c.IDs, tc.count, tc.text)
		require.Equal(t, tc.missing, strings.Join(c.Missing, " "), tc.text)
		require.Equal(t, tc.level, c.Level, tc.text)
	}
	require.True(t, ForHTTP2(nil))
	require.False(t, ForHTTP2([]uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}))
	require.True(t, ForHTTP2([]uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}))
	name, bits := CipherName(tls.TLS_CHACHA20_POLY1305_SHA256)
	require.Equal(t, "TLS_CHACHA20_POLY1305_SHA256 256", name+" "+map[int]string{256: "256"}[bits])
}

func TestProtocols(t *testing.T) {
	for text, want := range map[string]string{
		"all":                      "TLSv1.2 TLSv1.3",
		"all -SSLv2 -SSLv3":        "TLSv1.2 TLSv1.3",
		"all -TLSv1 -TLSv1.1":      "TLSv1.2 TLSv1.3",
		"+TLSv1.2 +TLSv1.3":        "TLSv1.2 TLSv1.3",
		"-all +TLSv1.3":            "TLSv1.3",
		"TLSv1.2":                  "TLSv1.2",
		"tlsv1.2 tlsv1.3":          "TLSv1.3",
		"all -TLSv1.3":             "TLSv1.2",
		"all +TLSv1 +TLSv1.1":      "TLSv1 TLSv1.3",
		"TLSv1 +TLSv1.3":           "the protocols do not follow each other: TLSv1.1 is missing",
		"-all":                     "no protocol is left",
		"SSLv3":                    "SSLv3 is not safe, and not spoken",
		"all -TLSv1.2 -TLSv1.3 -x": `protocol "x" is not known`,
	} {
		p, _, err := ParseProtocols(strings.Fields(text))
		var low, high uint16
		if err == nil {
			low, high, err = p.Range()
		}
		got := ""
		if err != nil {
			got = err.Error()
		} else if got = protocolNames[low-firstVersion]; high > low {
			got += " " + protocolNames[high-firstVersion]
		}
		require.Equal(t, want, got, text)
	}
	p, _, err := ParseProtocols([]string{"all", "+TLSv1"})
	require.NoError(t, err)
	_, old := p.Without()
	require.Equal(t, []string{"TLSv1"}, old)
}

func TestCurves(t *testing.T) {
	ids, missing := Curves("X25519:prime256v1:P-384:?X25519MLKEM768:brainpoolP256r1")
	require.Equal(t, []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.X25519MLKEM768}, ids)
	require.Equal(t, []string{"brainpoolP256r1"}, missing)
}

func FuzzCiphers(f *testing.F) {
	for _, text := range cipherStrings {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCiphers(text)
		require.Equal(t, err == nil, len(c.IDs) > 0 && err == nil)
	})
}

// TestCost: neither words nor names cost more than their length.
func TestCost(t *testing.T) {
	inputs := make(map[string]parsertest.Input)
	for name, part := range map[string]string{"words": "HIGH:", "sums": "AES+", "unknown words": "x:", "removed": "-AES:", "separators": ":"} {
		inputs["cipher string, "+name] = func(n int) func() {
			text := strings.Repeat(part, n/len(part))
			return func() { _, _ = ParseCiphers(text) }
		}
	}
	inputs["name"] = func(n int) func() {
		text := strings.Repeat(",", n)
		return func() { var b strings.Builder; escapeName(&b, text) }
	}
	inputs["certificates"] = func(n int) func() {
		text := []byte(strings.Repeat("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", n/58))
		return func() { _, _ = certificatesOf(text) }
	}
	parsertest.Linear(t, inputs)
}
