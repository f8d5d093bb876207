package proxy

import (
	"encoding/base64"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// forwarded returns the request if it is for an origin: with an absolute URL
// that names one. It returns nil if the request is for this server.
func (f *Forward) forwarded(r *http.Request) (*http.Request, error) {
	u := r.URL
	switch {
	case u.Scheme == "" && r.ProtoMajor >= 2 && f.Next == nil && r.Host != "" && strings.HasPrefix(u.Path, "/"):
		absolute := *u
		absolute.Scheme, absolute.Host = "http", r.Host
		u = &absolute
	case u.Scheme == "":
		return nil, nil
	}
	switch {
	case u.Opaque != "":
		return nil, exchange.BadRequest("target has no authority")
	case u.User != nil && (u.Scheme == "http" || u.Scheme == "https"): // RFC 9110 section 4.2.4
		return nil, exchange.BadRequest("target has userinfo")
	case u.Fragment != "" || strings.IndexByte(r.RequestURI, '#') >= 0:
		return nil, exchange.BadRequest("target has a fragment")
	}
	if u.User != nil && strings.Contains(u.User.Username(), ":") { // Basic cannot say so
		return nil, exchange.BadRequest("user in the target has a colon")
	}
	if !f.speaks(u.Scheme) {
		return nil, exchange.BadRequest("scheme is not spoken here")
	}
	if _, _, err := access.URLAuthority(u); err != nil {
		return nil, err
	}
	out := *r
	if u == r.URL {
		copied := *u
		u = &copied
	}
	u.Host = strings.TrimSuffix(u.Host, ":")
	if u.User != nil {
		out.Header = withCredentials(r.Header, u.User)
		u.User = nil
	}
	out.URL, out.Host = u, u.Host // the URI wins over the field: RFC 9112 section 3.2.2
	return &out, nil
}

// withCredentials moves those of a URL, as FTP has them, to where no log looks.
// Authorization that is there wins, as in mod_proxy_ftp.
func withCredentials(h http.Header, u *url.Userinfo) http.Header {
	if _, ok := h["Authorization"]; ok {
		return h
	}
	h = h.Clone()
	password, _ := u.Password()
	h["Authorization"] = []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password))}
	return h
}

// speaks reports whether there is a transport for a scheme.
func (f *Forward) speaks(scheme string) bool {
	if f.Transports == nil {
		return scheme == "http" || scheme == "https"
	}
	t, ok := f.Transports[scheme]
	return t != nil || ok && (scheme == "http" || scheme == "https")
}

// redirectsToDomain answers requests for hosts without a domain.
func (f *Forward) redirectsToDomain(w http.ResponseWriter, r *http.Request, host string) bool {
	if f.Domain == "" || r.Method != http.MethodGet || host == "localhost" || strings.ContainsAny(host, ".:") {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	to := *r.URL
	to.Host = host + f.Domain
	if port := r.URL.Port(); port != "" {
		to.Host += ":" + port
	}
	w.Header().Set("Location", to.String())
	exchange.WriteErrorPage(w, r, http.StatusMovedPermanently)
	return true
}
