package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// ReverseRule maps URLs that the backend puts into the fields Location,
// Content-Location, URI and Destination of its answers back to what clients
// see. Apache: ProxyPassReverse.
//
// A rule fits whole segments: "http://b/app" fits "http://b/app/x", not
// "http://b/apple". Scheme and host are compared without regard to case, the
// path with it, and a scheme's default port is the same as none. The result is
// an absolute URL with the scheme and host that the client used. Of several
// rules the first that fits decides; what none fits, and what is no well-formed
// URL, is left alone.
type ReverseRule struct {
	// Path is the path that clients see, such as "/app". It begins with "/".
	Path string

	// URL is what the backend calls it, in one of three forms. An absolute URL
	// fits values under it; the backend's address and the Host that it was told
	// are the same, unless that is the client's. A path ("/app") fits values that are paths, and
	// absolute ones whose host is the backend's or the one the client used
	// (Apache: any host). A balancer ("balancer://name/app") fits absolute
	// values under the URL of the member that answered.
	URL string
}

// reverseRule is a ReverseRule, read.
type reverseRule struct {
	front  string // the path that clients see
	scheme string // lower case; "" for a rule that is a path
	host   string // lower case, without a default port
	path   string
}

// reverseView is what the mapping of one answer depends on.
type reverseView struct {
	frontScheme string // as the client used it: "http" or "https"
	frontHost   string // as the client used it, with the port if it had one
	backendHost string // host:port the request was sent to; of the member, for a balancer
	sentHost    string // the Host that the backend was told, if that is neither the one nor the other
	backendPath string // path of the member's URL, which comes before the rule's
}

// compileReverse reads rules once so that answers need not.
func compileReverse(rules []ReverseRule) ([]reverseRule, error) {
	compiled := make([]reverseRule, 0, len(rules))
	for _, r := range rules {
		if !strings.HasPrefix(r.Path, "/") || syntax.HasBlankOrControl(r.Path) {
			return nil, fmt.Errorf("proxy: reverse rule: path %q does not begin with a slash or holds a blank", r.Path)
		}
		ru := reverseRule{front: r.Path, path: r.URL}
		if !strings.HasPrefix(r.URL, "/") || strings.HasPrefix(r.URL, "//") {
			var ok bool
			if ru.scheme, ru.host, ru.path, ok = splitAbsolute(r.URL); !ok || strings.ContainsAny(ru.path, "?#") {
				return nil, fmt.Errorf("proxy: reverse rule: url %q is neither a path nor scheme://host/path", backend.RedactURL(r.URL))
			}
		}
		compiled = append(compiled, ru)
	}
	return compiled, nil
}

// rewriteLocations maps the fields that carry URLs back to what the client
// sees. Value slices may be shared with others, so a changed one is replaced.
func rewriteLocations(h http.Header, rules []reverseRule, view reverseView) {
	if len(rules) == 0 {
		return
	}
	for _, name := range [...]string{"Location", "Content-Location", "Uri", "Destination"} {
		replaceValues(h, name, func(v string) (string, bool) { return reverseURL(v, rules, view) })
	}
}

// replaceValues replaces the values of a field for which change reports true.
func replaceValues(h http.Header, name string, change func(string) (string, bool)) {
	values := h[name]
	copied := false
	for i, v := range values {
		n, ok := change(v)
		if !ok || n == v {
			continue
		}
		if !copied {
			values, copied = slices.Clone(values), true
			h[name] = values
		}
		values[i] = n
	}
}

// reverseURL maps one value by the first rule that fits.
func reverseURL(v string, rules []reverseRule, view reverseView) (string, bool) {
	if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", false
	}
	path := v
	var scheme, host string
	if v == "" || v[0] != '/' {
		var ok bool
		if scheme, host, path, ok = splitAbsolute(v); !ok {
			return "", false
		}
	} else if strings.HasPrefix(v, "//") {
		return "", false // a URL without scheme, whose host is not compared, as in Apache
	}
	for i := range rules {
		ru := &rules[i]
		from := ru.path
		switch {
		case ru.scheme == "":
			if scheme != "" && !view.isBackend(scheme, host) && !sameHost(scheme, host, view.frontHost) {
				continue
			}
		case ru.scheme == "balancer":
			if scheme == "" || !view.isBackend(scheme, host) {
				continue
			}
			from = strings.TrimSuffix(view.backendPath, "/") + from
		case ru.scheme != scheme || ru.host != host && !(view.isBackend(scheme, ru.host) && view.isBackend(scheme, host)):
			continue
		}
		if mapped, ok := replacePathPrefix(path, from, ru.front); ok {
			return frontURL(mapped, view), true
		}
	}
	return "", false
}

// isBackend reports whether a normal host is that of the backend, by its URL or
// by what it was told as Host: members that discovery has found are told the name
// of their service.
func (v *reverseView) isBackend(scheme, host string) bool {
	return sameHost(scheme, host, v.backendHost) || sameHost(scheme, host, v.sentHost)
}

// frontURL makes a path absolute. A client that named no host (HTTP/1.0) gets
// the path alone, which must not look like the host of another.
func frontURL(path string, view reverseView) string {
	if view.frontHost == "" {
		return "/" + strings.TrimLeft(path, `/\`)
	}
	return view.frontScheme + "://" + view.frontHost + path
}

// replacePathPrefix replaces the prefix from of a path by to, where from ends a
// segment, and sees to it that one slash joins to and the rest.
func replacePathPrefix(path, from, to string) (string, bool) {
	rest, ok := strings.CutPrefix(path, from)
	switch {
	case !ok:
		return "", false
	case strings.HasSuffix(from, "/"):
		return strings.TrimSuffix(to, "/") + "/" + rest, true
	case rest == "" || rest[0] == '?' || rest[0] == '#':
		return to + rest, true
	case rest[0] == '/':
		return strings.TrimSuffix(to, "/") + rest, true
	}
	return "", false
}

// splitAbsolute splits scheme://host/path?query#fragment. The path, with all
// that follows, begins with "/". Values with user information are refused.
func splitAbsolute(v string) (scheme, host, path string, ok bool) {
	scheme, rest, ok := strings.Cut(v, "://")
	if !ok || scheme == "" {
		return "", "", "", false
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	u, err := url.Parse(scheme + "://" + rest[:end])
	if err != nil || u.Hostname() == "" || u.User != nil {
		return "", "", "", false
	}
	path = rest[end:]
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return u.Scheme, exchange.NormalHost(u.Scheme, u.Host), path, true
}

// sameHost reports whether a normal host and one as it stands in a field or in
// a configuration are the same. It reads no more of either than of the other.
func sameHost(scheme, host, other string) bool {
	const longer = 64 // by a port, and another spelling of an address
	return other != "" && len(other) <= len(host)+longer && host == exchange.NormalHost(scheme, other)
}
