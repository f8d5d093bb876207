package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// rule maps request URLs to URLs of a backend: those under a prefix (Apache
// ProxyPass), or those that match an expression (ProxyPassMatch, matchrule.go).
// It never lets a request choose scheme, host or port. A rule is fixed once it
// is made and may be used from any goroutine.
type rule struct {
	scheme, host string
	query        string // of the target
	mode         Mapping
	noSlashes    bool // escaped ones

	prefix string // cleaned, decoded
	path   string // of the target, escaped; takes the place of prefix

	match *matcher // if not nil, in place of prefix and path
}

// newPrefixRule makes a rule for the paths under prefix, which may be empty.
// The rest of the path is put behind the path of target, so both must end in a
// slash or neither: "/a" onto "http://b/x/" would make "/x//c" of "/a/c", and
// "/a/" onto "http://b/x" would make "/xc". Prefix "" or "/" with a target that
// has no path but "/" stands for all paths as they are.
func newPrefixRule(prefix string, target *url.URL, m Mapping) (*rule, error) {
	return makePrefixRule(prefix, target, m, false)
}

// newPrefixRuleLenient is newPrefixRule for configurations written for Apache:
// prefix and target may differ in their last slash, and are concatenated then.
func newPrefixRuleLenient(prefix string, target *url.URL, m Mapping) (*rule, error) {
	return makePrefixRule(prefix, target, m, true)
}

func makePrefixRule(prefix string, target *url.URL, m Mapping, lenient bool) (*rule, error) {
	cleaned, err := cleanPrefix(prefix)
	if err != nil {
		return nil, err
	}
	if target == nil || target.Scheme == "" || target.Host == "" || target.Opaque != "" {
		return nil, errors.New("proxy: target: want scheme://host/path")
	}
	if target.Fragment != "" {
		return nil, errors.New("proxy: target: a fragment is never sent")
	}
	ru := &rule{scheme: target.Scheme, host: target.Host, query: target.RawQuery, mode: m, prefix: cleaned}
	if target.Path != "" {
		c, err := canonicalPath(target, MappingRaw)
		if err != nil {
			return nil, fmt.Errorf("proxy: target: %w", errors.Unwrap(err))
		}
		ru.path = c.wire
	}
	if (cleaned == "" || cleaned == "/") && (ru.path == "" || ru.path == "/") {
		ru.path = cleaned
		return ru, nil
	}
	if !lenient && strings.HasSuffix(cleaned, "/") != strings.HasSuffix(ru.path, "/") {
		return nil, fmt.Errorf("proxy: prefix %q and target path %q: both must end in a slash, or neither", prefix, ru.path)
	}
	return ru, nil
}

// cleanPrefix checks the decoded path of a rule and merges its slashes.
func cleanPrefix(prefix string) (string, error) {
	if prefix == "" {
		return "", nil
	}
	if prefix[0] != '/' {
		return "", fmt.Errorf("proxy: prefix %q does not begin with a slash", prefix)
	}
	var b strings.Builder
	for i := 0; i < len(prefix); {
		for i < len(prefix) && prefix[i] == '/' {
			i++
		}
		seg := segmentAt(prefix, i)
		if seg == "." || seg == ".." {
			return "", fmt.Errorf("proxy: prefix %q holds a dot segment and would never match", prefix)
		}
		b.WriteByte('/')
		b.WriteString(seg)
		i += len(seg)
	}
	return b.String(), nil
}

// apply maps the request URL in onto out, and reports whether the rule takes
// it. It sets all of out but its fragment; in and out may be the same. An error
// has status 400, or 404 for an escaped slash, and means that the request must
// not be forwarded at all.
func (ru *rule) apply(in, out *url.URL) (bool, error) {
	if isAsterisk(in) {
		return false, nil
	}
	c, err := canonicalPath(in, ru.mode)
	if err != nil {
		return false, err
	}
	if c.slashes && ru.noSlashes {
		return false, errEncodedSlash()
	}
	wire, ok, err := ru.rewrite(c)
	if !ok || err != nil {
		return false, err
	}
	if syntax.HasBlankOrControl(in.RawQuery) || strings.IndexByte(in.RawQuery, '#') >= 0 {
		return false, exchange.BadRequest("query holds a blank, a control byte or a number sign")
	}

	out.Scheme, out.Host = ru.scheme, ru.host
	out.Opaque, out.User, out.OmitHost = "", nil, false
	setPath(out, wire)
	out.RawQuery, out.ForceQuery = joinQuery(ru.query, in.RawQuery), in.ForceQuery
	return true, nil
}

// matches reports whether the rule takes a URL. It takes no malformed one.
func (ru *rule) matches(in *url.URL) bool {
	if isAsterisk(in) {
		return false
	}
	c, err := canonicalPath(in, ru.mode)
	if err != nil || c.slashes && ru.noSlashes {
		return false
	}
	if ru.match != nil {
		text, _ := c.text()
		return ru.match.re.MatchString(text)
	}
	_, ok := c.hasPrefix(ru.prefix)
	return ok
}

// errEncodedSlash is how a path with an escaped slash is refused.
func errEncodedSlash() error {
	return &exchange.Error{Op: exchange.OpRequest, Status: http.StatusNotFound, Err: errors.New("path has an encoded slash")}
}

// rewrite returns the escaped path for the backend, and whether the rule takes
// the path at all.
func (ru *rule) rewrite(c canonical) (wire string, ok bool, err error) {
	if ru.match != nil {
		return ru.match.rewrite(c)
	}
	i, ok := c.hasPrefix(ru.prefix)
	if !ok {
		return "", false, nil
	}
	if c.wire[:i] == ru.path {
		return c.wire, true, nil
	}
	wire = ru.path + c.wire[i:]
	if wire == "" || wire[0] != '/' { // the target has no path
		wire = "/" + wire
	}
	return wire, true, nil
}

// isAsterisk reports whether a URL is the target of "OPTIONS *", which is no
// path and is taken by no rule.
func isAsterisk(u *url.URL) bool { return u.Path == "*" && u.RawPath == "" && u.Opaque == "" }

// joinQuery puts the query of the request behind that of the target.
func joinQuery(target, request string) string {
	if target == "" || request == "" {
		return target + request
	}
	return target + "&" + request
}
