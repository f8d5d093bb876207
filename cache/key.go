package cache

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// uriKey is the key of a path and query on a host: RFC 9111 section 2. Path and
// query are not normalized, since the origin may see a difference where a cache
// sees none.
func (c *Cache) uriKey(scheme, host string, u *url.URL) string {
	if c.KeyBaseURL != nil {
		scheme, host = c.KeyBaseURL.Scheme, c.KeyBaseURL.Host
	}
	path, query := u.EscapedPath(), u.RawQuery
	switch {
	case u.Opaque != "": // as in "http:path"; the blank keeps it apart from the host
		path = " " + u.Opaque
	case path == "":
		path = "/"
	}
	if c.IgnoreQueryString {
		query = ""
	}
	for _, name := range c.IgnoreURLSessionIdentifiers {
		path = withoutPathParameter(path, name)
		query = withoutQueryParameter(query, name)
	}
	mark := ""
	if query != "" || u.ForceQuery && !c.IgnoreQueryString {
		mark = "?"
	}
	if strings.Contains(query, " ") { // as HTTP/2 lets through; a blank in a key ends the URI
		query = strings.ReplaceAll(query, " ", "%20")
	}
	scheme = strings.ToLower(scheme)
	return scheme + "://" + exchange.NormalHost(scheme, host) + path + mark + query
}

// withoutPathParameter takes ";name=value" off the end of a path.
func withoutPathParameter(path, name string) string {
	last := strings.LastIndexByte(path, '/') + 1
	i := strings.Index(path[last:], ";"+name+"=")
	if i < 0 {
		return path
	}
	i += last
	rest := path[i+1:]
	if j := strings.IndexByte(rest, ';'); j >= 0 {
		return path[:i] + rest[j:]
	}
	return path[:i]
}

// withoutQueryParameter takes "name=value" out of a query, however often it is
// there.
func withoutQueryParameter(query, name string) string {
	var kept strings.Builder
	from, last := 0, false // what is not copied yet; the end was taken out
	for at := 0; at < len(query); {
		end := len(query)
		if j := strings.IndexByte(query[at:], '&'); j >= 0 {
			end = at + j + 1
		}
		if one := query[at:end]; strings.HasPrefix(one, name) && strings.HasPrefix(one[len(name):], "=") {
			kept.WriteString(query[from:at])
			from, last = end, end == len(query)
		}
		at = end
	}
	if from == 0 {
		return query
	}
	kept.WriteString(query[from:])
	if last {
		return strings.TrimSuffix(kept.String(), "&")
	}
	return kept.String()
}

// targetOf is the URI that a request is for, for the rules about where a
// Location points.
func (c *Cache) targetOf(r *http.Request) *url.URL {
	u := *r.URL
	f := exchange.FactsOf(r, c.TrustedProxies)
	if u.Scheme == "" {
		u.Scheme = f.Scheme
	}
	if f.Host != "" {
		u.Host = f.Host
	}
	return &u
}
