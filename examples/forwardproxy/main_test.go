package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/internal/browser"
	"github.com/modproxy/modproxy/examples/programs"
)

// start runs the proxy until the test ends, and returns its address.
func start(t *testing.T, o options) string {
	o.listen = programs.FreeAddr(t)
	programs.Run(t, func(ctx context.Context) error { return serve(ctx, o) }, o.listen)
	return o.listen
}

// page is a site of two pages, with a script that asks for more.
var page = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/data":
		_, _ = io.Copy(w, r.Body)
		fmt.Fprint(w, r.Header.Get("X-Forwarded-For"), r.Header.Get("Proxy-Authorization"))
	case "/next":
		fmt.Fprint(w, `<p id="text">the next page</p>`)
	default:
		fmt.Fprint(w, `<a id="next" href="/next">next</a><p id="text">waiting</p>
<script>fetch("/data", {method: "POST", body: "posted"}).then(r => r.text()).then(t => { document.getElementById("text").textContent = t })</script>`)
	}
})

// TestBrowser: Chromium browses https and http by the proxy, to which it speaks
// HTTP/1.1 in clear text, or HTTP/2 over TLS.
func TestBrowser(t *testing.T) {
	secure, plain := httptest.NewTLSServer(page), httptest.NewServer(page)
	defer secure.Close()
	defer plain.Close()
	cert := certificate(t)
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			o := options{allow: "127.0.0.0/8", inside: "127.0.0.0/8", ports: "1-65535"}
			if scheme == "https" {
				o.cert = cert
			}
			at := start(t, o)
			b := browser.Start(t, "--proxy-server="+scheme+"://"+at, "--proxy-bypass-list=<-loopback>", "--ignore-certificate-errors")
			for _, site := range []string{secure.URL, plain.URL} {
				b.Open(site + "/")
				b.Eventually(`document.getElementById("text").textContent == "posted"`)
				b.Click("#next")
				b.Eventually(`location.pathname == "/next"`)
				require.Equal(t, "the next page", b.Text("#text"))
			}
		})
	}
}

func TestAccounts(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	require.NoError(t, os.WriteFile(users, []byte("alice:$2y$05$4/iI97VcNWO9rTLBAOmmX.APUi0dEDnTd1q51PVeHQFK9kGZ44j8q\n"), 0o600))
	secure := httptest.NewTLSServer(page)
	defer secure.Close()
	parent := start(t, options{users: users, inside: "127.1 127.0.0.1", ports: "1-65535"})
	at := start(t, options{allow: "127", inside: "127.0.0.1", ports: "1-65535", parent: "http://alice:open%20sesame@" + parent})
	closed := start(t, options{allow: "10", users: users})
	get := func(by string) (*http.Response, error) {
		tr := secure.Client().Transport.(*http.Transport).Clone()
		tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: by})
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr}).Get(secure.URL + "/next")
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		return resp, err
	}
	resp, err := get(at)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	_, err = get(parent)
	require.ErrorContains(t, err, "Proxy Authentication Required")
	_, err = get(closed)
	require.ErrorContains(t, err, "Forbidden")
}

func TestMistakes(t *testing.T) {
	for name, o := range map[string]options{
		"nobody may use it": {}, "users": {users: "/nowhere"}, "allow": {allow: "x"}, "inside": {allow: "127", inside: "x"},
		"ports": {allow: "127", ports: "x"}, "parent": {allow: "127", parent: "socks5://x:1"}, "listen": {allow: "127", listen: "nowhere"},
	} {
		require.Error(t, serve(context.Background(), o), name)
	}
}

// certificate writes a certificate for 127.0.0.1 with its key.
func certificate(t *testing.T) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "proxy"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	file := filepath.Join(t.TempDir(), "proxy.pem")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	return file
}
