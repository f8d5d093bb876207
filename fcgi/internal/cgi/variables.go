package cgi

import (
	"cmp"
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
)

type variablesKey struct{}

// WithVariables adds variables to those that are sent for requests with this
// context.
func WithVariables(ctx context.Context, vars map[string]string) context.Context {
	if outer := Variables(ctx); len(outer) > 0 {
		all := maps.Clone(outer)
		maps.Copy(all, vars)
		vars = all
	}
	return context.WithValue(ctx, variablesKey{}, vars)
}

// Variables returns what was given to [WithVariables]. It must not be changed.
func Variables(ctx context.Context) map[string]string {
	vars, _ := ctx.Value(variablesKey{}).(map[string]string)
	return vars
}

// Gateway is who speaks to the application.
type Gateway struct {
	ServerName        string // empty means the client's Host
	ServerSoftware    string // empty means "modproxy"
	HideAuthorization bool
	NoContent         bool // the application is told of no body
}

// AddTo adds to p what an application is told of a request whose body has length
// bytes, but for what is run.
func (g *Gateway) AddTo(p *Params, r, client *http.Request, length int64) {
	front := client
	if front == nil {
		front = r
	}
	p.Add("GATEWAY_INTERFACE", "CGI/1.1")
	p.Add("SERVER_SOFTWARE", cmp.Or(g.ServerSoftware, "modproxy"))
	p.Add("REQUEST_METHOD", Method(r))
	p.Add("SERVER_PROTOCOL", protocol(front))
	p.Add("REQUEST_URI", requestURI(front))
	p.Add("QUERY_STRING", r.URL.RawQuery)
	f := exchange.FactsOf(r, nil)
	g.addServer(p, r, front, &f)
	addPeer(p, &f)
	p.AddSome("REMOTE_USER", f.User)
	if f.User != "" {
		p.AddSome("AUTH_TYPE", f.AuthType)
	}
	if v := r.Header["Content-Type"]; len(v) > 0 && !g.NoContent {
		p.Add("CONTENT_TYPE", v[0])
	}
	if length > 0 && !g.NoContent {
		p.Add("CONTENT_LENGTH", strconv.FormatInt(length, 10))
	}
	p.fields(r.Header, !g.HideAuthorization)
	if host, _ := HostField(r, client); host != "" {
		p.addField("Host", host)
	}
}

// Method is that of a request; the zero value is GET.
func Method(r *http.Request) string {
	if r.Method == "" {
		return http.MethodGet
	}
	return r.Method
}

func protocol(r *http.Request) string {
	if r.Proto == "" {
		return "HTTP/1.1"
	}
	return r.Proto
}

// requestURI is the target as the client sent it, without scheme and host.
func requestURI(r *http.Request) string {
	switch uri := r.RequestURI; {
	case uri == "":
	case uri[0] == '/':
		return uri
	default: // with scheme and host; r.URL may lead elsewhere by now
		if u, err := url.ParseRequestURI(uri); err == nil && u.Opaque == "" {
			return u.RequestURI()
		}
	}
	return r.URL.RequestURI()
}

// HostField is the Host that the application sees: one that was set for it, or
// else the client's, who may have named none. That of the URL, which is where
// the application is, is for requests without a client.
func HostField(r, client *http.Request) (string, error) {
	if r.Host == "" && client != nil {
		_, _, err := exchange.ParseHost(client.Host)
		return client.Host, err
	}
	return exchange.OutgoingHost(r)
}

// addServer adds where the client came to.
func (g *Gateway) addServer(p *Params, r, front *http.Request, f *exchange.Facts) {
	port := "80"
	if f.Scheme == "https" {
		port = "443"
	}
	host := f.Host
	if host == "" {
		host, _ = exchange.OutgoingHost(r)
	}
	name, named, _ := exchange.ParseHost(host)
	if named != "" {
		port = named
	}
	if g.ServerName != "" {
		name = g.ServerName
	}
	p.Add("REQUEST_SCHEME", f.Scheme)
	p.Add("SERVER_NAME", name)
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if at, pt, err := net.SplitHostPort(a.String()); err == nil {
			p.Add("SERVER_ADDR", at)
			if !f.Trusted && f.Host == front.Host && (f.Scheme == "https") == (front.TLS != nil) { // else the client came to another port
				port = pt
			}
		}
	}
	p.Add("SERVER_PORT", port)
	if f.Scheme == "https" {
		p.Add("HTTPS", "on")
	}
	if state := front.TLS; state != nil {
		addTLS(p, state)
	}
}

// addTLS adds the facts that applications ask for, under mod_ssl's names.
func addTLS(p *Params, state *tls.ConnectionState) {
	p.Add("SSL_PROTOCOL", exchange.TLSProtocol(state.Version))
	p.Add("SSL_CIPHER", tls.CipherSuiteName(state.CipherSuite))
	p.AddSome("SSL_TLS_SNI", state.ServerName)
	if state.DidResume {
		p.Add("SSL_SESSION_RESUMED", "Resumed")
	} else {
		p.Add("SSL_SESSION_RESUMED", "Initial")
	}
	if len(state.PeerCertificates) == 0 {
		p.Add("SSL_CLIENT_VERIFY", "NONE")
		return
	}
	verify := "GENEROUS"
	if len(state.VerifiedChains) > 0 {
		verify = "SUCCESS"
	}
	own := state.PeerCertificates[0]
	p.Add("SSL_CLIENT_VERIFY", verify)
	p.Add("SSL_CLIENT_S_DN", own.Subject.String())
	p.Add("SSL_CLIENT_I_DN", own.Issuer.String())
	p.Add("SSL_CLIENT_M_SERIAL", own.SerialNumber.Text(16))
}

// addPeer adds who asks. A request of this process itself has no address; it
// comes from here.
func addPeer(p *Params, f *exchange.Facts) {
	p.Add("REMOTE_ADDR", cmp.Or(f.ClientIP(), "127.0.0.1"))
	if _, port, err := net.SplitHostPort(f.Client); err == nil {
		p.AddSome("REMOTE_PORT", port)
	}
}

// AddMounted adds PATH_INFO, which is the path of r, and SCRIPT_NAME, what goes
// before it in that of the client, for applications that are no files.
func (p *Params) AddMounted(r, client *http.Request) {
	info := cmp.Or(r.URL.Path, "/")
	name := ""
	if client != nil {
		name = MountedAt(client.URL.Path, info)
	}
	p.Add("SCRIPT_FILENAME", "proxy:"+r.URL.Scheme+"://"+r.URL.Host+info)
	p.Add("SCRIPT_NAME", name)
	p.Add("PATH_INFO", info)
}

// MountedAt is what goes before info in the path of a client; empty if that does not
// end in it. As in Apache, the root of an application may have been asked for by the
// whole path.
func MountedAt(p, info string) string {
	p = CleanPath(p)
	if info == "/" && p != "/" {
		return p
	}
	name, ok := strings.CutSuffix(p, info)
	if !ok {
		return ""
	}
	return name
}

// CleanPath is the path of a client without dot segments and empty ones, and with a
// slash at its begin.
func CleanPath(p string) string {
	p = "/" + strings.TrimLeft(p, "/")
	if strings.Contains(p, "/.") || strings.Contains(p, "//") {
		trailing := strings.HasSuffix(p, "/")
		if p = path.Clean(p); trailing && p != "/" {
			p += "/"
		}
	}
	return p
}
