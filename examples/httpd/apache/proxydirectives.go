package apache

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/pattern"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// rule is a ProxyPass or ProxyPassMatch.
type rule struct {
	at      *conf.Directive
	path    string // prefix or expression
	pattern *pattern.Pattern
	target  string // "!" for none
	params  params

	socket, text string         // target, taken apart
	proto        *proxy.Handler // for finding out what it takes and where that goes
	number       int            // among all rules
	fallback     bool           // SetHandler "proxy:…": for what no ProxyPass takes
	dynamic      bool           // where a request goes is in visit.found.to: of [P], and of expressions of PCRE
}

// proxyDirectives are those of mod_proxy and mod_proxy_http.
func proxyDirectives() []directive {
	const dir = anywhere
	return []directive{
		{name: "ProxyPass", in: anyServer | inLocation, min: 1, max: -1, note: "http, https, h2, h2c, ws, wss, fcgi, scgi, uwsgi, ajp, ftp, ftps, ftpes, unix:, balancer:", apply: applyPass},
		{name: "ProxyPassMatch", in: anyServer | inLocation, min: 1, max: -1, apply: applyPass},
		{name: "ProxyPassInherit", in: anyServer, min: 1, max: 1, note: "Off means off; in httpd the rules are inherited all the same", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			on, err := onOff(d)
			if err == nil && !on {
				s.rules = append(s.rules, nil) // a mark: the main server's rules do not hold here
			}
			return err
		}},
		{name: "ProxyPassReverse", in: anyServer | inLocation, min: 1, max: 3, apply: applyReverse},
		{name: "ProxyPassReverseCookieDomain", in: dir, min: 2, max: 3, apply: applyCookieRule(func(s *settings) *[]proxy.CookieRule { return &s.cookieDomains })},
		{name: "ProxyPassReverseCookiePath", in: dir, min: 2, max: 3, apply: applyCookieRule(func(s *settings) *[]proxy.CookieRule { return &s.cookiePaths })},
		{name: "ProxyPassInterpolateEnv", in: dir, min: 1, max: 1, note: "variables that only a request could tell are an error where interpolate is said"},
		{name: "ProxyPreserveHost", in: dir, min: 1, max: 1, apply: applySwitch(func(s *settings) **bool { return &s.preserveHost })},
		{name: "ProxyAddHeaders", in: dir, min: 1, max: 1, apply: applySwitch(func(s *settings) **bool { return &s.addHeaders })},
		{name: "ProxyVia", in: anyServer, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			mode, ok := map[string]proxy.ViaMode{"off": proxy.ViaOff, "on": proxy.ViaOn, "full": proxy.ViaFull, "block": proxy.ViaBlock}[strings.ToLower(d.Args[0])]
			if !ok {
				return d.Errorf("ProxyVia is On, Off, Full or Block")
			}
			s.settings.via = &mode
			return nil
		}},
		{name: "ProxyBadHeader", in: anyServer, min: 1, max: 1, note: "malformed answers are always errors", apply: func(b *builder, _ *scope, d *conf.Directive) error {
			switch strings.ToLower(d.Args[0]) {
			case "iserror":
			case "ignore", "startbody":
				b.warn(d.Errorf("ProxyBadHeader %s has no effect: a malformed answer could be read in two ways, and is always an error", d.Args[0]))
			default:
				return d.Errorf("ProxyBadHeader is IsError, Ignore or StartBody")
			}
			return nil
		}},
		{name: "ProxyErrorOverride", in: dir, min: 1, max: -1, apply: applyErrorOverride},
		{name: "ProxyMaxForwards", in: anyServer, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			n, err := strconv.Atoi(d.Args[0])
			s.settings.maxForwards = &n
			return err
		}},
		{name: "ProxyTimeout", in: anyServer, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) (err error) {
			s.settings.proxyTimeout, err = positive(d.Args[0], time.Second)
			return err
		}},
		{name: "ProxySourceAddress", in: anyServer, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			source, err := netip.ParseAddr(d.Args[0])
			s.settings.source = &source
			return err
		}},
		{name: "Proxy100Continue", in: dir, min: 1, max: 1, note: "On forwards Expect with a time limit, and then sends the body without an answer", apply: applySwitch(func(s *settings) **bool { return &s.expect })},
		{name: "ProxySet", in: anywhere, min: 1, max: -1, apply: applyProxySet},
		{name: "Proxy", section: true, in: anyServer, min: 1, max: -1, note: "compared with the decoded URL of the backend", apply: applyProxySection},
		{name: "ProxyMatch", section: true, in: anyServer, min: 1, max: 1, apply: applyProxySection},
	}
}

func applySwitch(field func(s *settings) **bool) func(*builder, *scope, *conf.Directive) error {
	return func(_ *builder, s *scope, d *conf.Directive) error {
		on, err := onOff(d)
		*field(&s.settings) = &on
		return err
	}
}

// applyPass reads "[path] url|! [k=v …] [nocanon] [interpolate] [noquery]".
func applyPass(b *builder, s *scope, d *conf.Directive) (err error) {
	words := d.Args
	match := d.Is("ProxyPassMatch")
	r := &rule{at: d}
	if s.context == inLocation {
		r.path, r.pattern = s.path, s.pattern
		if strings.HasPrefix(words[0], "/") {
			return fmt.Errorf("inside <Location> the path is the section's: leave %q out", backend.RedactURL(words[0]))
		}
	} else {
		if words[0] == "~" && !match {
			match, words = true, words[1:]
		}
		if len(words) < 2 {
			return fmt.Errorf("want a path and a URL")
		}
		r.path, words = words[0], words[1:]
		if match {
			if r.pattern, err = pattern.Compile(r.path); err != nil {
				return err
			}
		} else if !strings.HasPrefix(r.path, "/") {
			return fmt.Errorf("path %q does not begin with a slash", r.path)
		}
	}
	r.target = words[0]
	r.socket, r.text = cutUnix(r.target)
	r.text = lowerHost(r.text)
	rest := r.params.set
	if isBalancer(r.text) {
		c, err := s.cluster(r.text, d)
		if err != nil {
			return err
		}
		if err := c.setAll(words[1:], rest); err != nil {
			return err
		}
	} else {
		var all conf.Errors
		for _, w := range words[1:] {
			all.Add(rest(w))
		}
		if len(all) > 0 {
			return all
		}
	}
	if r.params.interpolate {
		if err := checkInterpolate(r.target); err != nil {
			return err
		}
	}
	if r.target != "!" {
		if r.pattern != nil {
			if err := b.fillGroups(r); err != nil {
				return err
			}
		}
		if err := b.checkTarget(r); err != nil {
			return err
		}
	} else if err := r.except(); err != nil {
		return err
	}
	b.rules++
	r.number = b.rules
	s.rules = append(s.rules, r)
	return nil
}

// checkTarget refuses at the start what no request could be sent to.
func (b *builder) checkTarget(r *rule) error {
	scheme, rest, ok := strings.Cut(r.text, "://")
	if !ok {
		return fmt.Errorf("%q is no URL", backend.RedactURL(r.target))
	}
	if err := checkScheme(scheme); err != nil && !isBalancer(r.text) {
		return err
	}
	if err := checkPort(rest); err != nil {
		return err
	}
	if r.pattern == nil && !strings.Contains(rest, "/") {
		rest += "/"
		if r.path != "/" {
			rest = strings.TrimSuffix(rest, "/")
		}
	}
	if r.pattern == nil && strings.HasSuffix(r.path, "/") != strings.HasSuffix(rest, "/") {
		b.warn(r.at.Errorf("only one of %s and %s ends in a slash: paths will be joined wrongly", r.path, backend.RedactURL(r.target)))
	}
	return r.makeProto()
}

// checkScheme refuses schemes that are not spoken.
func checkScheme(scheme string) error {
	switch scheme = strings.ToLower(scheme); scheme {
	case "http", "https", "h2", "h2c", "ws", "wss", "fcgi", "scgi", "uwsgi", "ajp", "ftp", "ftps", "ftpes":
		return nil
	}
	return fmt.Errorf("scheme %q is not known", scheme)
}

// except makes what finds out whether "!" stands for a path.
func (r *rule) except() error {
	r.text = "http://nowhere.invalid/"
	if r.pattern == nil && !strings.HasSuffix(r.path, "/") {
		r.text = "http://nowhere.invalid"
	}
	return r.makeProto()
}

// plainHost returns the URL of a backend with its host as requests name it: in lower
// case, and without the port that its scheme has by default.
func plainHost(text string) string {
	scheme, rest, _ := strings.Cut(text, "://")
	switch strings.ToLower(scheme) {
	case "http", "https", "h2", "h2c", "ws", "wss":
		end := len(rest)
		if i := strings.IndexAny(rest, "/?#$"); i >= 0 {
			end = i
		}
		if strings.HasPrefix(rest[end:], "$") {
			break // the rest of the host comes from the request
		}
		return scheme + "://" + exchange.NormalHost(scheme, rest[:end]) + rest[end:]
	}
	return text
}

func (r *rule) makeProto() (err error) {
	r.text = plainHost(r.text)
	if r.dynamic = r.pattern != nil && r.pattern.Standard() == nil; r.dynamic {
		return nil
	}
	if r.proto, err = r.newHandler(); err == nil {
		r.proto.Mapping = r.params.pathMapping()
		_, _, err = r.proto.MapURL(&url.URL{Path: "/"}) // compiles it
	}
	return err
}

// cutUnix takes the socket off a target.
func cutUnix(target string) (socket, text string) {
	if len(target) > 5 && strings.EqualFold(target[:5], "unix:") {
		if socket, text, ok := strings.Cut(target[5:], "|"); ok {
			if strings.HasSuffix(text, ":") {
				text += "//localhost"
			}
			return socket, text
		}
	}
	return "", target
}

// checkInterpolate refuses variables that only a request could tell.
func checkInterpolate(text string) error {
	if strings.Contains(text, "${") {
		return fmt.Errorf("%q: variables are replaced when the file is read, and interpolate comes later: proxy.Handler.Rewrite in Go", backend.RedactURL(text))
	}
	return nil
}

// applyCookieRule reads "internal public [interpolate]".
func applyCookieRule(list func(s *settings) *[]proxy.CookieRule) func(*builder, *scope, *conf.Directive) error {
	return func(_ *builder, s *scope, d *conf.Directive) error {
		if len(d.Args) == 3 {
			if err := checkInterpolate(d.Args[0] + d.Args[1]); err != nil {
				return err
			}
		}
		rules := list(&s.settings)
		*rules = append(*rules, proxy.CookieRule{Internal: d.Args[0], Public: d.Args[1]})
		return nil
	}
}

// applyReverse reads "[path] url [interpolate]".
func applyReverse(b *builder, s *scope, d *conf.Directive) error {
	words := d.Args
	path := s.path
	if s.context&anyServer != 0 {
		path, words = words[0], words[1:]
	}
	if len(words) == 0 || words[0] == "interpolate" {
		return fmt.Errorf("want a URL, after a path outside of sections")
	}
	if len(words) > 1 {
		switch {
		case s.context&anyServer == 0 && words[1] != "interpolate":
			return fmt.Errorf("inside a section the path is the section's: leave %q out", words[0])
		case len(words) > 2:
			return fmt.Errorf("%q is too much", strings.Join(words[2:], " "))
		}
		if err := checkInterpolate(words[0]); err != nil { // httpd takes any word for it
			return err
		}
	}
	_, to := cutUnix(words[0])
	if strings.ContainsAny(to, "?#") || !isURL(to) && (!strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//")) {
		b.warn(d.Errorf("%s has no effect: %q is neither a URL nor a path, and no answer names it", d.Name, backend.RedactURL(to)))
		return nil
	}
	s.settings.reverse = append(s.settings.reverse, proxy.ReverseRule{Path: path, URL: to})
	return nil
}

func applyErrorOverride(_ *builder, s *scope, d *conf.Directive) error {
	on, err := onOff(&conf.Directive{Name: d.Name, Args: d.Args[:1], File: d.File, Line: d.Line})
	if err != nil {
		return err
	}
	if !on {
		s.settings.override, s.settings.overrideOff = nil, true
		if len(d.Args) > 1 {
			return fmt.Errorf("codes may follow On alone")
		}
		return nil
	}
	o := &proxy.ErrorOverride{}
	for _, w := range d.Args[1:] {
		n, err := strconv.Atoi(w)
		if err != nil || n < 400 || n > 599 {
			return fmt.Errorf("%q is no code from 400 to 599", w)
		}
		o.Codes = append(o.Codes, n)
	}
	s.settings.override, s.settings.overrideOff = o, false
	return nil
}

// applyProxySet reads "[url] k=v …".
func applyProxySet(b *builder, s *scope, d *conf.Directive) error {
	words := d.Args
	url := s.path
	if s.context != inProxy {
		url = ""
		if !strings.Contains(words[0], "=") || strings.Contains(words[0], "://") {
			url, words = words[0], words[1:]
		}
		if url == "" && s.context != inLocation {
			return fmt.Errorf("want a URL before the parameters")
		}
	}
	if isBalancer(url) {
		c, err := s.cluster(url, d)
		if err != nil {
			return err
		}
		return c.setAll(words, c.unknown)
	}
	var p params
	var all conf.Errors
	for _, w := range words {
		all.Add(p.setWorker(w))
	}
	if len(all) > 0 {
		return all
	}
	target := b.section(inProxy, s, d)
	target.path = url
	target.rules = []*rule{{params: p}}
	owner := s
	if s.context != inServer && s.context != inVhost {
		owner = s.parent
	}
	if url == "" { // of the location's own rules
		for _, r := range s.rules {
			r.params.merge(p)
		}
		return nil
	}
	owner.proxies = append(owner.proxies, target)
	return nil
}

// applyProxySection reads <Proxy url-or-pattern [k=v …]> and <ProxyMatch re>.
func applyProxySection(b *builder, s *scope, d *conf.Directive) (err error) {
	p := b.section(inProxy, s, d)
	p.path = d.Args[0]
	if form := oneForm(p.path); form != p.path && !d.Is("ProxyMatch") {
		p.also = &scope{path: form}
		if strings.ContainsAny(form, "*?[") {
			if p.also.pattern, err = globPattern(form, true); err != nil {
				return conf.Join(err, b.apply(p, d.Children))
			}
		}
	}
	switch {
	case d.Is("ProxyMatch"):
		p.pattern, err = pattern.Compile(d.Args[0])
	case strings.ContainsAny(d.Args[0], "*?["):
		p.pattern, err = globPattern(d.Args[0], true)
		p.all = strings.Trim(d.Args[0], "*") == ""
	}
	if err != nil {
		return conf.Join(err, b.apply(p, d.Children))
	}
	var all conf.Errors
	if isBalancer(p.path) && p.pattern == nil {
		c, err := s.cluster(p.path, d)
		if err != nil {
			return conf.Join(err, b.apply(p, d.Children))
		}
		all.Add(c.setAll(d.Args[1:], c.unknown))
	} else if len(d.Args) > 1 {
		var own params
		for _, w := range d.Args[1:] {
			all.Add(own.setWorker(w))
		}
		p.rules = []*rule{{params: own}}
	}
	s.proxies = append(s.proxies, p)
	all.Add(b.apply(p, d.Children))
	return all.Err()
}

// lowerHost writes the host of a URL in lower case, as httpd does for its backends.
// Behind a "$" is no host.
func lowerHost(text string) string {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return text
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?$"); i >= 0 {
		end = i
	}
	begin := strings.LastIndexByte(rest[:end], '@') + 1
	return scheme + "://" + rest[:begin] + strings.ToLower(rest[begin:end]) + rest[end:]
}

// oneForm returns a URL with its host in lower case, and without the usual
// port, as forwardTarget does.
func oneForm(text string) string {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return text
	}
	scheme = strings.ToLower(scheme)
	host, path, slash := strings.Cut(rest, "/")
	host = strings.ToLower(host)
	if port := backend.DefaultPort(scheme); port != "" && strings.HasSuffix(host, ":"+port) {
		host, slash = strings.TrimSuffix(host, ":"+port), true
	}
	if slash {
		host += "/"
	}
	return scheme + "://" + host + path
}

// covers reports whether a <Proxy> section applies to the URL of a backend.
func (s *scope) covers(url string) bool {
	if s.all || s.also != nil && s.also.covers(url) {
		return true
	}
	if s.pattern != nil {
		return s.pattern.MatchString(url)
	}
	return strings.HasPrefix(url, s.path)
}
