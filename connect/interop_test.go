package connect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
)

// site is an origin over http and https: /big is 3 MB, a POST is answered with
// the digest of its body, all else with what was asked for.
type site struct {
	plain, secure *httptest.Server
	big           []byte
	digest        string
	ca            string // file with the certificate of secure
}

func startSite(t *testing.T) *site {
	s := &site{big: make([]byte, 3<<20)}
	_, _ = rand.NewChaCha8([32]byte{7}).Read(s.big)
	sum := sha256.Sum256(s.big)
	s.digest = hex.EncodeToString(sum[:])
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == "POST":
			d := sha256.New()
			_, _ = io.Copy(d, r.Body)
			fmt.Fprintf(w, "%x", d.Sum(nil))
		case r.URL.Path == "/big":
			_, _ = w.Write(s.big)
		default:
			fmt.Fprintf(w, "%s %s, via %q, credentials %q", r.Host, r.RequestURI, r.Header.Get("Via"), r.Header.Get("Proxy-Authorization"))
		}
	})
	s.plain, s.secure = httptest.NewServer(h), httptest.NewTLSServer(h)
	t.Cleanup(s.plain.Close)
	t.Cleanup(s.secure.Close)
	s.ca = writeCertificate(t, s.secure)
	return s
}

// writeCertificate writes a server's certificate, which is its own CA.
func writeCertificate(t *testing.T, s *httptest.Server) string {
	file := filepath.Join(programs.Folder(t), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o644))
	return file
}

// places are the destinations of a site: its names are example.com, which its
// certificate is for.
func (s *site) places() *access.Destinations {
	return &access.Destinations{AllowPrivate: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if _, port, _ := net.SplitHostPort(address); port == "443" {
			address = s.secure.Listener.Addr().String()
		} else if port == "80" {
			address = s.plain.Listener.Addr().String()
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}, Lookup: inside("").Lookup}
}

// tell runs curl, which must end as expected, and returns what it wrote.
func tell(t *testing.T, code int, args ...string) string {
	t.Helper()
	got := programs.Curl(t, args...)
	require.Equal(t, code, got.Code, "%q: %s", args, got.Errors)
	return got.Out
}

// startForward starts a forward proxy for a site.
func startForward(t *testing.T, s *site, secure bool, clients *access.Clients, change func(f *proxy.Forward)) (*httptest.Server, *Handler) {
	f := &proxy.Forward{ServerName: "fwd.test", Clients: clients, Destinations: s.places()}
	h := &Handler{Ports: []access.PortRange{{First: 1, Last: 65535}}, DialContext: f.DialContext, ServerName: "fwd.test"}
	f.Connect = h
	if change != nil {
		change(f)
	}
	require.NoError(t, f.Validate())
	front := httptest.NewUnstartedServer(f)
	if secure {
		front.EnableHTTP2 = true
		front.StartTLS()
	} else {
		front.Start()
	}
	t.Cleanup(front.Close)
	t.Cleanup(f.CloseIdleConnections)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = h.Shutdown(ctx)
	})
	return front, h
}

// TestCurl: the real curl by the proxy, over http and https to it, with and
// without tunnels, credentials right and wrong.
func TestCurl(t *testing.T) {
	s := startSite(t)
	users, err := access.ReadHtpasswd(strings.NewReader("alice:$2y$05$4/iI97VcNWO9rTLBAOmmX.APUi0dEDnTd1q51PVeHQFK9kGZ44j8q"))
	require.NoError(t, err)
	auth := &access.Clients{Auth: &access.BasicAuth{Verify: users.Verify}}
	file := filepath.Join(t.TempDir(), "big")
	require.NoError(t, os.WriteFile(file, s.big, 0o644))
	site443 := s.secure.Listener.Addr().String()
	site80 := s.plain.Listener.Addr().String()
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "http", true: "https"}[secure], func(t *testing.T) {
			open, _ := startForward(t, s, secure, everybody(), nil)
			closed, _ := startForward(t, s, secure, auth, nil)
			by := func(front *httptest.Server, more ...string) []string {
				args := append([]string{"-x", front.URL, "--cacert", s.ca}, more...)
				if secure {
					args = append(args, "--proxy-cacert", writeCertificate(t, front))
				}
				return args
			}
			plain := site80 + ` /x%2Fy?z, via "1.1 fwd.test", credentials ""`
			require.Equal(t, plain, tell(t, 0, by(open, "http://"+site80+"/x%2Fy?z")...))
			tunnelled := site80 + ` /x, via "", credentials ""`
			require.Equal(t, tunnelled, tell(t, 0, by(open, "-p", "http://"+site80+"/x")...))
			require.Contains(t, tell(t, 0, by(open, "https://"+site443+"/x")...), ` /x, via "", credentials ""`)
			require.Equal(t, s.digest, tell(t, 0, by(open, "--data-binary", "@"+file, "https://"+site443+"/")...))
			require.Equal(t, s.digest, tell(t, 0, by(open, "--data-binary", "@"+file, "http://"+site80+"/")...))
			sum := sha256.Sum256([]byte(tell(t, 0, by(open, "https://"+site443+"/big")...)))
			require.Equal(t, s.digest, hex.EncodeToString(sum[:]))

			const code = "%{http_code} %{http_connect}"
			require.Equal(t, "407 000", tell(t, 0, by(closed, "-o", "/dev/null", "-w", code, "http://"+site80+"/")...))
			require.Contains(t, tell(t, 56, by(closed, "-o", "/dev/null", "-w", code, "https://"+site443+"/")...), "000 407")
			require.Contains(t, tell(t, 56, by(closed, "-U", "alice:wrong", "-o", "/dev/null", "-w", code, "https://"+site443+"/")...), "000 407")
			for _, how := range []string{"--proxy-basic", "--proxy-anyauth"} { // the second asks first
				require.Equal(t, plain, tell(t, 0, by(closed, "-U", "alice:open sesame", how, "http://"+site80+"/x%2Fy?z")...))
				require.Contains(t, tell(t, 0, by(closed, "-U", "alice:open sesame", how, "https://"+site443+"/x")...), ` /x, via "", credentials ""`)
				require.Equal(t, s.digest, tell(t, 0, by(closed, "-U", "alice:open sesame", how, "--data-binary", "@"+file, "https://"+site443+"/")...))
			}
			strict, _ := startForward(t, s, secure, everybody(), func(f *proxy.Forward) { f.Destinations = nil })
			require.Equal(t, "403 000", tell(t, 0, by(strict, "-o", "/dev/null", "-w", code, "http://"+site80+"/")...))
			for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]"} {
				require.Contains(t, tell(t, 56, by(strict, "-o", "/dev/null", "-w", code, "https://"+host+"/")...), "000 403")
			}
		})
	}
}

// TestHTTPTransport: Go's own client, for which a proxy is set.
func TestHTTPTransport(t *testing.T) {
	leavesNoFiles(t)
	s := startSite(t)
	for _, secure := range []bool{false, true} {
		front, h := startForward(t, s, secure, &access.Clients{Auth: &access.BasicAuth{Verify: func(_ context.Context, user, password string) (bool, error) {
			return user == "a" && password == "b", nil
		}}}, nil)
		u := mustURL(t, front.URL)
		u.User = url.UserPassword("a", "b")
		tr := s.secure.Client().Transport.(*http.Transport).Clone()
		tr.Proxy = http.ProxyURL(u)
		if secure {
			tr.TLSClientConfig.RootCAs.AddCert(front.Certificate())
		}
		cl := &http.Client{Transport: tr}
		for range 3 {
			resp, err := cl.Get(s.secure.URL + "/x")
			require.NoError(t, err)
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			require.Contains(t, string(b), ` /x, via "", credentials ""`)
		}
		require.LessOrEqual(t, h.tunnels().Count(), 1, "one tunnel for all")
		tr.CloseIdleConnections()
		u.User = url.UserPassword("a", "c")
		_, err := cl.Get(s.secure.URL)
		require.ErrorContains(t, err, "Proxy Authentication Required")
		tr.CloseIdleConnections()
	}
}

// parents are real proxies that ask for the credentials alice, "open sesame",
// and reach every port.
var parents = map[string]func(t *testing.T) string{
	"httpd": func(t *testing.T) string {
		users := writeUsers(t, "alice:$2y$05$4/iI97VcNWO9rTLBAOmmX.APUi0dEDnTd1q51PVeHQFK9kGZ44j8q")
		return programs.HTTPD(t, "authz_user authn_core authn_file auth_basic proxy proxy_http proxy_connect", fmt.Sprintf(`
ServerName parent.test
ProxyRequests On
ProxyVia On
AllowCONNECT 1-65535
<Proxy *>
  AuthType Basic
  AuthName parent
  AuthBasicProvider file
  AuthUserFile %s
  Require valid-user
</Proxy>
`, users)).Addr
	},
	"squid": func(t *testing.T) string {
		helper := "/usr/lib/squid/basic_ncsa_auth"
		programs.NeedFile(t, helper, "squid")
		return programs.Squid(t, fmt.Sprintf(`visible_hostname parent.test
auth_param basic program %s %s
auth_param basic children 1
acl known proxy_auth REQUIRED
http_access allow known
`, helper, writeUsers(t, "alice:$apr1$dTGWyHFk$jDRLY392WdwQWOOr0I07B."))).Addr
	},
}

// writeUsers writes a file of passwords that every program may read.
func writeUsers(t *testing.T, line string) string {
	file := filepath.Join(programs.Folder(t), "users")
	require.NoError(t, os.WriteFile(file, []byte(line+"\n"), 0o644))
	return file
}

// TestRealParents: our forward proxy behind the real httpd and squid, and our
// dialer through them.
func TestRealParents(t *testing.T) {
	for name, start := range parents {
		t.Run(name, func(t *testing.T) {
			s := startSite(t)
			at := start(t)
			remote, err := NewRemote("*", "http://alice:open%20sesame@"+at)
			require.NoError(t, err)
			front, _ := startForward(t, s, false, everybody(), func(f *proxy.Forward) { f.Remotes = []access.Remote{remote} })
			plain := tell(t, 0, "-x", front.URL, s.plain.URL+"/x%2Fy?z")
			require.Contains(t, plain, ` /x%2Fy?z, via "1.1 fwd.test, 1.1 parent.test`)
			require.Contains(t, plain, `credentials ""`)
			require.Contains(t, tell(t, 0, "-x", front.URL, "--cacert", s.ca, s.secure.URL+"/x"), ` /x, via ""`)
			sum := sha256.Sum256([]byte(tell(t, 0, "-x", front.URL, "--cacert", s.ca, s.secure.URL+"/big")))
			require.Equal(t, s.digest, hex.EncodeToString(sum[:]))

			const code = "%{http_code} %{http_connect}"
			wrong, err := NewRemote("*", "http://alice:wrong@"+at)
			require.NoError(t, err)
			front, _ = startForward(t, s, false, everybody(), func(f *proxy.Forward) { f.Remotes = []access.Remote{wrong} })
			require.Contains(t, tell(t, 56, "-x", front.URL, "-o", "/dev/null", "-w", code, s.secure.URL), "000 407", "its refusal as it is")
			require.Equal(t, "407 000", tell(t, 0, "-x", front.URL, "-o", "/dev/null", "-w", code, s.plain.URL))

			// A chain of two real ones, the second the same as the first.
			d := &Dialer{Proxy: mustURL(t, "http://alice:open%20sesame@"+at)}
			chain := &Dialer{Proxy: d.Proxy, DialParent: d.DialContext}
			tr := s.secure.Client().Transport.(*http.Transport).Clone()
			tr.DialContext = chain.DialContext
			defer tr.CloseIdleConnections()
			resp, err := (&http.Client{Transport: tr}).Get(s.secure.URL + "/chain")
			require.NoError(t, err)
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			require.Contains(t, string(b), " /chain, ")
			_, err = (&Dialer{Proxy: mustURL(t, "http://"+at)}).Dial("tcp", s.secure.Listener.Addr().String())
			var refused *RefusedError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, 407, refused.StatusCode)
			require.NotEmpty(t, refused.Body)
		})
	}
}

// TestRealChildren: the real httpd has our proxies for parents. It has
// credentials for plain requests alone.
func TestRealChildren(t *testing.T) {
	s := startSite(t)
	users := &access.Clients{Auth: &access.BasicAuth{Verify: func(_ context.Context, user, password string) (bool, error) { return user+password == "ab", nil }}}
	front, _ := startForward(t, s, false, users, nil)
	open, h := startForward(t, s, false, everybody(), nil)
	at := programs.HTTPD(t, "proxy proxy_http proxy_connect", fmt.Sprintf(`
ServerName child.test
ProxyRequests On
AllowCONNECT 1-65535
ProxyRemote http %s a:b
ProxyRemote * %s
`, front.URL, open.URL)).Addr
	require.Contains(t, tell(t, 0, "-x", "http://"+at, s.plain.URL+"/x"), ` /x, via "1.1 fwd.test", credentials ""`)
	require.Contains(t, tell(t, 0, "-x", "http://"+at, "--cacert", s.ca, s.secure.URL+"/x"), ` /x, via ""`)
	require.Eventually(t, func() bool { return taken(h) == 0 }, patience, time.Millisecond)
}
