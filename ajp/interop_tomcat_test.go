package ajp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// facts reads what the page env.jsp tells.
func pageFacts(t *testing.T, resp *http.Response, err error) map[string]string {
	t.Helper()
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s", text)
	m := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			m[name] = value
		}
	}
	return m
}

func TestTomcat(t *testing.T) {
	const secret = "s3cret"
	_, url := startTomcat(t, programs.TomcatOptions{Secret: secret, Attributes: "org[.]tomcat[.].*|AJP_SSL_PROTOCOL"})
	tr := &Transport{Backend: newBackend(t, url), Secret: secret, Ping: patience}
	h, err := NewHandler("/", url)
	require.NoError(t, err)
	h.Transport = tr
	withUser := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, access.WithUser(r, "ann", "Basic"))
	})
	front := httptest.NewServer(withUser)
	t.Cleanup(front.Close)
	secure := httptest.NewUnstartedServer(withUser)
	secure.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	client := front.Client()

	t.Run("sees the client's view", func(t *testing.T) {
		r, err := http.NewRequest("GET", front.URL+"/env.jsp?q=1&r=%2F", nil)
		require.NoError(t, err)
		r.Host = "www.example.com:8080"
		r.Header["X-Two"] = []string{"a", "b"}
		resp, err := client.Do(r)
		m := pageFacts(t, resp, err)
		require.Equal(t, "GET", m["method"])
		require.Equal(t, "/env.jsp", m["uri"])
		require.Equal(t, "q=1&r=%2F", m["query"])
		require.Equal(t, "http", m["scheme"])
		require.Equal(t, "www.example.com:8080", m["server"])
		require.Equal(t, "127.0.0.1", m["remote"])
		require.NotEqual(t, "-1", m["port"])
		require.Equal(t, "127.0.0.1", m["local"])
		require.Equal(t, "ann", m["user"])
		require.Equal(t, "Basic", m["auth"])
		require.Equal(t, "[a, b]", m["header.x-two"])
		require.Equal(t, "0", m["body.length"])
		require.NotContains(t, m, "header.x-forwarded-for")
	})
	t.Run("sees TLS", func(t *testing.T) {
		resp, err := secure.Client().Get(secure.URL + "/env.jsp")
		m := pageFacts(t, resp, err)
		require.Equal(t, "https", m["scheme"])
		require.Equal(t, "true", m["secure"])
		require.Contains(t, m["attr.jakarta.servlet.request.cipher_suite"], "TLS_")
		require.Contains(t, []string{"128", "256"}, m["attr.jakarta.servlet.request.key_size"])
	})
	t.Run("sees the client's certificate", func(t *testing.T) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Ann"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		require.NoError(t, err)
		transport := secure.Client().Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
		t.Cleanup(transport.CloseIdleConnections)
		resp, err := (&http.Client{Transport: transport}).Get(secure.URL + "/env.jsp")
		require.Equal(t, "CN=Ann", pageFacts(t, resp, err)["certificate"])
		resp, err = secure.Client().Get(secure.URL + "/env.jsp")
		require.NotContains(t, pageFacts(t, resp, err), "certificate")
	})
	t.Run("takes named attributes that fit", func(t *testing.T) {
		one := &Transport{Backend: tr.Backend, Secret: secret, Attributes: func(*http.Request) []Attribute { return []Attribute{{"org.tomcat.x", "y"}} }}
		resp, err := (&http.Client{Transport: one}).Get(url + "/env.jsp")
		require.Equal(t, "y", pageFacts(t, resp, err)["attr.org.tomcat.x"])
		one.Attributes = func(*http.Request) []Attribute { return []Attribute{{"strange", "y"}} }
		resp, err = (&http.Client{Transport: one}).Get(url + "/env.jsp")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusForbidden, resp.StatusCode)
	})
	t.Run("refuses without the secret", func(t *testing.T) {
		for _, wrong := range []string{"", "wrong"} {
			one := &Transport{Backend: tr.Backend, Secret: wrong}
			resp, err := (&http.Client{Transport: one}).Get(url + "/env.jsp")
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, http.StatusForbidden, resp.StatusCode)
		}
	})
	t.Run("methods", func(t *testing.T) {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "BREW"} {
			r, err := http.NewRequest(method, url+"/env.jsp", nil)
			require.NoError(t, err)
			resp, err := tr.RoundTrip(r)
			require.NoError(t, err)
			if resp.StatusCode == http.StatusMethodNotAllowed { // pages are for GET, POST and HEAD
				require.NotContains(t, []string{"GET", "POST"}, method)
				require.NoError(t, resp.Body.Close())
				continue
			}
			require.Equal(t, method, pageFacts(t, resp, err)["method"])
		}
	})
	t.Run("uploads", func(t *testing.T) {
		for _, size := range []int{1, 8185, 8186, 8187, 9000, 1 << 20} {
			for _, chunked := range []bool{false, true} {
				data := bytes.Repeat([]byte("upload!\n"), size/8+1)[:size]
				body := io.Reader(bytes.NewReader(data))
				if chunked {
					body = io.MultiReader(body)
				}
				resp, err := client.Post(front.URL+"/env.jsp", "application/octet-stream", body)
				m := pageFacts(t, resp, err)
				require.Equal(t, fmt.Sprint(size), m["body.length"])
				require.Equal(t, fmt.Sprintf("%x", crc32.ChecksumIEEE(data)), m["body.crc32"])
			}
		}
	})
	t.Run("downloads without a length", func(t *testing.T) {
		for _, base := range []string{front.URL, url} {
			c := client
			if base == url {
				c = &http.Client{Transport: tr}
			}
			resp, err := c.Get(base + "/big.jsp")
			require.NoError(t, err)
			n, err := io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.EqualValues(t, 105*100000, n)
			require.NoError(t, resp.Body.Close())
		}
	})
	t.Run("answers HEAD, 304 and 404", func(t *testing.T) {
		resp, err := client.Head(front.URL + "/index.html")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.EqualValues(t, len("tomcat root\n"), resp.ContentLength)
		r, err := http.NewRequest("GET", front.URL+"/index.html", nil)
		require.NoError(t, err)
		r.Header.Set("If-None-Match", resp.Header.Get("Etag"))
		resp, err = client.Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusNotModified, resp.StatusCode)
		resp, err = client.Get(front.URL + "/none")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, "404 Not Found", resp.Status)
	})
	t.Run("answers before the upload", func(t *testing.T) {
		pr, pw := io.Pipe()
		defer pw.Close()
		r, err := http.NewRequest("POST", url+"/early.jsp", pr)
		require.NoError(t, err)
		r.ContentLength = 1 << 30
		resp, err := tr.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusForbidden, resp.StatusCode)
	})
	t.Run("runs its examples", func(t *testing.T) {
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		browser := &http.Client{Jar: jar}
		get := func(path string) string {
			resp, err := browser.Get(front.URL + "/examples/servlets/servlet/" + path)
			require.NoError(t, err)
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, resp.StatusCode, "%s", text)
			return string(text)
		}
		require.Contains(t, get("RequestHeaderExample"), "user-agent")
		get("SessionExample?dataname=fruit&datavalue=kumquat")
		require.Contains(t, get("SessionExample"), "kumquat")
		get("CookieExample?cookiename=taste&cookievalue=sour")
		require.Contains(t, get("CookieExample"), "sour")
		cookies := jar.Cookies(must(http.NewRequest("GET", front.URL+"/examples/", nil)).URL)
		var session string
		for _, c := range cookies {
			if c.Name == "JSESSIONID" {
				session = c.Value
			}
		}
		require.True(t, strings.HasSuffix(session, ".node1"), session)
	})
	t.Run("CPing", func(t *testing.T) { require.NoError(t, CPing(context.Background(), tr.Backend)) })
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestTomcatWithLargePackets has both ends at the most.
func TestTomcatWithLargePackets(t *testing.T) {
	_, url := startTomcat(t, programs.TomcatOptions{PacketSize: MaxPacketSize})
	tr := &Transport{Backend: newBackend(t, url), PacketSize: MaxPacketSize}
	r, err := http.NewRequest("POST", url+"/env.jsp", bytes.NewReader(make([]byte, 300000)))
	require.NoError(t, err)
	r.Header.Set("X-Long", strings.Repeat("l", 30000))
	resp, err := tr.RoundTrip(r)
	m := pageFacts(t, resp, err)
	require.Equal(t, "300000", m["body.length"])
	require.Len(t, m["header.x-long"], 30002)
	resp, err = (&http.Client{Transport: tr}).Get(url + "/big.jsp")
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.EqualValues(t, 105*100000, n)
	require.NoError(t, resp.Body.Close())
}

// TestTomcatStaysBelowThePath has a path that leaves it as Tomcat reads it.
func TestTomcatStaysBelowThePath(t *testing.T) {
	_, url := startTomcat(t, programs.TomcatOptions{})
	for mapping, want := range map[proxy.Mapping]int{proxy.MappingServlet: http.StatusNotFound, proxy.MappingRaw: http.StatusOK} {
		h, err := NewHandler("/app/", url+"/app/")
		require.NoError(t, err)
		if mapping != proxy.MappingServlet { // which is the default
			h.Mapping = mapping
		}
		h.Transport = newTransport(t, &Transport{Backend: newBackend(t, url)})
		front := httptest.NewServer(h)
		t.Cleanup(front.Close)
		resp, err := front.Client().Get(front.URL + "/app/..;/env.jsp")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, resp.StatusCode, mapping)
	}
}

// TestTomcatKilled kills it in each phase of an exchange.
func TestTomcatKilled(t *testing.T) {
	tomcat, url := startTomcat(t, programs.TomcatOptions{})
	b := newBackend(t, url)
	tr := &Transport{Backend: b}
	client := &http.Client{Transport: tr}
	resp, err := client.Get(url + "/stall.jsp") // in the middle of the body
	require.NoError(t, err)
	piece := make([]byte, 5)
	_, err = io.ReadFull(resp.Body, piece)
	require.NoError(t, err)
	waiting := make(chan error, 1)
	go func() { // before the head of the answer
		r, err := http.NewRequest("POST", url+"/slow.jsp", nil)
		if err != nil {
			waiting <- err
			return
		}
		_, err = tr.RoundTrip(r)
		waiting <- err
	}()
	require.Eventually(t, func() bool { return b.Stats().Busy == 2 }, patience, 1e7)
	tomcat.Kill()
	_, err = io.ReadAll(resp.Body)
	require.Error(t, err)
	require.Equal(t, http.StatusBadGateway, exchange.StatusOf(err))
	require.NoError(t, resp.Body.Close())
	err = <-waiting
	require.Equal(t, http.StatusBadGateway, exchange.StatusOf(err))
	require.False(t, exchange.MayResend(err))
	_, err = tr.RoundTrip(must(http.NewRequest("GET", url+"/index.html", nil))) // before the connection
	require.Equal(t, http.StatusServiceUnavailable, exchange.StatusOf(err))
	require.True(t, exchange.MayResend(err))
}

// TestTomcatSeesWhatItSeesBehindHTTPD asks the same through httpd and through
// our proxy.
func TestTomcatSeesWhatItSeesBehindHTTPD(t *testing.T) {
	_, url := startTomcat(t, programs.TomcatOptions{Secret: "s3cret"})
	theirs := startHTTPD(t, withProxyAJP, "ProxyPass / "+url+"/ secret=s3cret\n")
	h, err := NewHandler("/", url)
	require.NoError(t, err)
	h.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} // httpd believes everybody
	tr := h.Transport.(*Transport)
	tr.Secret = "s3cret"
	t.Cleanup(func() { _ = tr.Backend.Close() })
	ours := httptest.NewServer(h)
	t.Cleanup(ours.Close)
	client := ours.Client()
	for name, edit := range map[string]func(*http.Request){
		"plain":       func(*http.Request) {},
		"query":       func(r *http.Request) { r.URL.RawQuery = "a=b%2F&c;d=%zz" },
		"parameters":  func(r *http.Request) { r.URL.Opaque = "/env.jsp;x=1;jsessionid=7" },
		"fields":      func(r *http.Request) { r.Header["X-A"] = []string{"1", "2"}; r.Header.Set("X-Empty", "") },
		"cookies":     func(r *http.Request) { r.Header.Set("Cookie", "a=b; c=d") },
		"forwarded":   func(r *http.Request) { r.Header.Set("X-Forwarded-For", "1.2.3.4") },
		"post":        func(r *http.Request) { setBody(r, strings.NewReader("a=b"), 3) },
		"empty post":  func(r *http.Request) { r.Method = "POST" },
		"chunks":      func(r *http.Request) { setBody(r, io.MultiReader(strings.NewReader(strings.Repeat("x", 20000))), -1) },
		"basic auth":  func(r *http.Request) { r.SetBasicAuth("ann", "pw") },
		"IPv6 host":   func(r *http.Request) { r.Host = "[2001:db8::1]:8080" },
		"strange":     func(r *http.Request) { r.Host = "example.com" },
		"conditional": func(r *http.Request) { r.Header.Set("If-None-Match", `"x"`) },
	} {
		t.Run(name, func(t *testing.T) {
			var seen [2]map[string]string
			for i, front := range []string{theirs, ours.URL} {
				r, err := http.NewRequest("GET", front+"/env.jsp", nil)
				require.NoError(t, err)
				r.Host = "www.example.com:8080"
				edit(r)
				resp, err := client.Do(r)
				seen[i] = pageFacts(t, resp, err)
				require.NotEmpty(t, seen[i]["port"])
				delete(seen[i], "port") // the client's own
				delete(seen[i], "attr.AJP_REMOTE_PORT")
				if host := seen[i]["header.host"]; !strings.Contains(strings.Trim(host, "[]"), ":") {
					// httpd tells the port that it listens at
					seen[i]["server"] = strings.TrimSuffix(seen[i]["server"], front[strings.LastIndex(front, ":"):])
					seen[i]["server"] = strings.TrimSuffix(seen[i]["server"], ":80")
				}
			}
			require.Equal(t, seen[0], seen[1])
		})
	}
}

func setBody(r *http.Request, body io.Reader, length int64) {
	r.Method, r.Body, r.ContentLength = "POST", io.NopCloser(body), length
}
