package fcgi

import (
	"cmp"
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"strconv"

	"github.com/modproxy/modproxy/proxy/exchange"
)

type variablesKey struct{}

// WithVariables adds variables to those that a [Transport] sends for requests
// with this context, in place of its own of the same name. They are how
// middleware tells an application what it has found out, such as REMOTE_USER.
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

// variables fills p with what the application is told of a request whose body
// has length bytes.
func (t *Transport) variables(p *Params, r, client *http.Request, role role, s *script, length int64) {
	front := client
	if front == nil {
		front = r
	}
	p.add("GATEWAY_INTERFACE", "CGI/1.1")
	p.add("SERVER_SOFTWARE", t.software())
	p.add("FCGI_ROLE", role.String())
	p.add("REQUEST_METHOD", method(r))
	p.add("SERVER_PROTOCOL", protocol(front))
	p.add("REQUEST_URI", requestURI(front))
	p.add("QUERY_STRING", r.URL.RawQuery)
	t.addScript(p, r, role, s)
	f := exchange.FactsOf(r, nil)
	t.addServer(p, r, front, &f)
	addPeer(p, &f)
	p.addSome("REMOTE_USER", f.User)
	if f.User != "" {
		p.addSome("AUTH_TYPE", f.AuthType)
	}
	if v := r.Header["Content-Type"]; len(v) > 0 && role == roleResponder {
		p.add("CONTENT_TYPE", v[0])
	}
	if length > 0 && role == roleResponder {
		p.add("CONTENT_LENGTH", strconv.FormatInt(length, 10))
	}
	p.fields(r.Header, !t.HideAuthorization)
	if host, _ := hostField(r, client); host != "" {
		p.list = append(p.list, param{"Host", host, true})
	}
	p.setAll(Variables(r.Context()))
	if t.Env != nil {
		t.Env(r, p)
	}
}

func method(r *http.Request) string {
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
	if uri := r.RequestURI; uri != "" && uri[0] == '/' {
		return uri
	}
	return r.URL.RequestURI()
}

func (t *Transport) software() string {
	if t.ServerSoftware != "" {
		return t.ServerSoftware
	}
	return "modproxy"
}

// addScript adds what is run. An authorizer is told of no script and of no
// path below one, FastCGI 1.0 section 6.3.
func (t *Transport) addScript(p *Params, r *http.Request, role role, s *script) {
	filename := s.filename
	if t.Type == BackendGeneric {
		filename = "proxy:fcgi://" + r.URL.Host + filename
	}
	p.add("SCRIPT_FILENAME", filename)
	if role == roleResponder {
		p.add("SCRIPT_NAME", s.name)
		if s.info != "" {
			p.add("PATH_INFO", s.info)
			if s.root != "" {
				p.add("PATH_TRANSLATED", s.root+s.info)
			}
		}
	}
	if s.root != "" {
		p.add("DOCUMENT_ROOT", s.root)
		p.add("CONTEXT_DOCUMENT_ROOT", s.root)
	}
}

// hostField is the Host that the application sees: one that was set for it, or
// else the client's, who may have named none. That of the URL, which is where
// the application is, is for requests without a client.
func hostField(r, client *http.Request) (string, error) {
	if r.Host == "" && client != nil {
		_, _, err := exchange.ParseHost(client.Host)
		return client.Host, err
	}
	return exchange.OutgoingHost(r)
}

// addServer adds where the client came to.
func (t *Transport) addServer(p *Params, r, front *http.Request, f *exchange.Facts) {
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
	if t.ServerName != "" {
		name = t.ServerName
	}
	p.add("REQUEST_SCHEME", f.Scheme)
	p.add("SERVER_NAME", name)
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if at, pt, err := net.SplitHostPort(a.String()); err == nil {
			p.add("SERVER_ADDR", at)
			if !f.Trusted && f.Host == front.Host && (f.Scheme == "https") == (front.TLS != nil) { // else the client came to another port
				port = pt
			}
		}
	}
	p.add("SERVER_PORT", port)
	if f.Scheme == "https" {
		p.add("HTTPS", "on")
	}
	if state := front.TLS; state != nil {
		addTLS(p, state)
	}
}

// addTLS adds the facts that applications ask for, under mod_ssl's names.
func addTLS(p *Params, state *tls.ConnectionState) {
	p.add("SSL_PROTOCOL", exchange.TLSProtocol(state.Version))
	p.add("SSL_CIPHER", tls.CipherSuiteName(state.CipherSuite))
	p.addSome("SSL_TLS_SNI", state.ServerName)
	if state.DidResume {
		p.add("SSL_SESSION_RESUMED", "Resumed")
	} else {
		p.add("SSL_SESSION_RESUMED", "Initial")
	}
	if len(state.PeerCertificates) == 0 {
		p.add("SSL_CLIENT_VERIFY", "NONE")
		return
	}
	verify := "GENEROUS"
	if len(state.VerifiedChains) > 0 {
		verify = "SUCCESS"
	}
	own := state.PeerCertificates[0]
	p.add("SSL_CLIENT_VERIFY", verify)
	p.add("SSL_CLIENT_S_DN", own.Subject.String())
	p.add("SSL_CLIENT_I_DN", own.Issuer.String())
	p.add("SSL_CLIENT_M_SERIAL", own.SerialNumber.Text(16))
}

// addPeer adds who asks. A request of this process itself has no address; it
// comes from here.
func addPeer(p *Params, f *exchange.Facts) {
	p.add("REMOTE_ADDR", cmp.Or(f.ClientIP(), "127.0.0.1"))
	if _, port, err := net.SplitHostPort(f.Client); err == nil {
		p.addSome("REMOTE_PORT", port)
	}
}
