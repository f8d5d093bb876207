package apache

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/expr"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/modssl"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/pattern"
	"github.com/modproxy/modproxy/proxy"
)

// scope collects what the directives of one section say. An inner scope says
// only what differs; merge puts two together.
type scope struct {
	context  place
	at       *conf.Directive
	settings settings
	rules    []*rule // ProxyPass, in order; of a location, the last counts
	parent   *scope  // what a section stands in

	// of servers
	listen     []string // Listen, of the main server
	addresses  []string // of a virtual host
	called     []string // names of hosts among its addresses, as they are written
	names      []string // ServerName first
	canonical  *url.URL // ServerName with its scheme and port; nil without one
	namedPort  string   // that of ServerName, if it is written there
	locations  []*scope
	proxies    []*scope
	folders    []*scope // <Directory>, <DirectoryMatch>
	files      []*scope // <Files>, <FilesMatch>; of a <Directory>, too
	ifs        []*scope // <If>; of all sections, too
	aliases    []alias
	handlers   []handlerUse // in it and its sections
	accessLogs logWords
	clusters   []*cluster  // in the order in which they are first named
	https      []string    // of listen: those with the protocol https
	asksFor    modssl.Mode // the strictest SSLVerifyClient of its sections

	serverRewriting rewriteSettings
	serverRedirects redirectSettings

	checkTemplates map[string]*checkParams // ProxyHCTemplate
	checkExprs     map[string]*expr.Expr   // ProxyHCExpr

	// of sections
	path      string // of a <Location>; or the URL of a <Proxy>
	pattern   *pattern.Pattern
	regex     bool       // a <LocationMatch>
	all       bool       // a <Proxy *>
	also      *scope     // of a <Proxy>: its URL in the one form that forward requests have
	number    int        // among all sections
	condition *condition // of an <If> or <ElseIf>
	otherwise *scope     // of an <If>: the <ElseIf> or <Else> behind it
	folder    bool       // a <Directory> or .htaccess, and no <Files>

	needs requirement // the <RequireAll> that is being read
	limit *methodSet  // the <Limit> that is being read
}

// settings are what sections override; nil is not said.
type settings struct {
	preserveHost  *bool
	canonicalName *bool // UseCanonicalName
	via           *proxy.ViaMode
	addHeaders    *bool
	override      *proxy.ErrorOverride
	overrideOff   bool
	maxForwards   *int
	timeout       *time.Duration // Timeout
	proxyTimeout  *time.Duration
	source        *netip.Addr // ProxySourceAddress
	readHead      *readLimit  // RequestReadTimeout
	readBody      *readLimit
	reverse       []proxy.ReverseRule
	cookieDomains []proxy.CookieRule
	cookiePaths   []proxy.CookieRule
	access        accessSettings
	logLevels     []moduleLevel
	errorLog      string
	errorLogAt    *conf.Directive

	cache          cacheSettings
	limits         requestLimits
	idleTimeout    *time.Duration // KeepAliveTimeout
	tls            tlsSettings
	ssl            sslSettings
	encodedSlashes *encodedSlashes
	traceOff       *bool
	expect         *bool          // Proxy100Continue
	documents      map[int]string // ErrorDocument
	envIf          []envStep
	env            envSettings
	requestHeader  []*headerEdit
	header         []*headerEdit
	remoteHeader   string
	trusted        []netip.Prefix // of RemoteIPHeader
	internal       []bool         // for each of trusted: RemoteIPInternalProxy

	rewriting rewriteSettings  // of sections; of servers what these inherit
	redirects redirectSettings // of sections

	plainFallback *bool          // ProxyWebsocketFallbackToProxyHttp
	tunnelIdle    *time.Duration // ProxyWebsocketIdleTimeout

	documentRoot string
	files        fileSettings
	accessFiles  []string  // AccessFileName
	passAuth     *bool     // CGIPassAuth
	generic      *bool     // ProxyFCGIBackendType GENERIC
	fcgiEnv      []fcgiVar // ProxyFCGISetEnvIf
	localField   *string   // ProxySCGIInternalRedirect; empty for Off

	auth                    authSettings
	filters                 filterSettings
	forward                 forwardSettings
	ftpCharset              string // ProxyFtpDirCharset
	ftpEscape, ftpWildcards *bool  // ProxyFtpEscapeWildcards, ProxyFtpListOnWildcard

	trackFirstByte *bool // LogIOTrackTTFB

	growth                                        *int
	balancerPersist, balancerInherit, proxyStatus *bool
}

// merge returns s with what inner says otherwise.
func (s settings) merge(inner settings) settings {
	over(&s.preserveHost, inner.preserveHost)
	over(&s.canonicalName, inner.canonicalName)
	over(&s.via, inner.via)
	over(&s.addHeaders, inner.addHeaders)
	over(&s.override, inner.override)
	if inner.overrideOff {
		s.override = nil
	}
	over(&s.maxForwards, inner.maxForwards)
	over(&s.timeout, inner.timeout)
	over(&s.proxyTimeout, inner.proxyTimeout)
	over(&s.source, inner.source)
	over(&s.readHead, inner.readHead)
	over(&s.readBody, inner.readBody)
	s.access = s.access.merge(inner.access)
	over(&s.encodedSlashes, inner.encodedSlashes)
	over(&s.traceOff, inner.traceOff)
	over(&s.expect, inner.expect)
	over(&s.growth, inner.growth)
	over(&s.plainFallback, inner.plainFallback)
	over(&s.tunnelIdle, inner.tunnelIdle)
	s.auth, s.forward = s.auth.merge(inner.auth), s.forward.merge(inner.forward)
	s.filters = s.filters.merge(inner.filters)
	over(&s.passAuth, inner.passAuth)
	over(&s.localField, inner.localField)
	over(&s.generic, inner.generic)
	s.fcgiEnv = behind(s.fcgiEnv, inner.fcgiEnv)
	over(&s.ftpEscape, inner.ftpEscape)
	over(&s.ftpWildcards, inner.ftpWildcards)
	if inner.ftpCharset != "" {
		s.ftpCharset = inner.ftpCharset
	}
	if inner.documentRoot != "" {
		s.documentRoot = inner.documentRoot
	}
	s.files = s.files.merge(inner.files)
	if inner.accessFiles != nil {
		s.accessFiles = inner.accessFiles
	}
	over(&s.balancerPersist, inner.balancerPersist)
	over(&s.balancerInherit, inner.balancerInherit)
	over(&s.proxyStatus, inner.proxyStatus)
	if inner.remoteHeader != "" {
		s.remoteHeader = inner.remoteHeader
	}
	over(&s.trackFirstByte, inner.trackFirstByte)
	if inner.errorLog != "" {
		s.errorLog, s.errorLogAt = inner.errorLog, inner.errorLogAt
	}
	s.tls, s.ssl = s.tls.merge(inner.tls), s.ssl.merge(inner.ssl)
	s.rewriting, s.redirects = s.rewriting.merge(inner.rewriting), s.redirects.merge(inner.redirects)
	s.cache = s.cache.merge(inner.cache)
	s.limits = s.limits.merge(inner.limits)
	over(&s.idleTimeout, inner.idleTimeout)
	s.documents = mergeDocuments(s.documents, inner.documents)
	s.reverse = behind(s.reverse, inner.reverse)
	s.cookieDomains = behind(s.cookieDomains, inner.cookieDomains)
	s.cookiePaths = behind(s.cookiePaths, inner.cookiePaths)
	s.logLevels = behind(s.logLevels, inner.logLevels)
	s.envIf, s.env = behind(s.envIf, inner.envIf), s.env.merge(inner.env)
	s.requestHeader, s.header = behind(s.requestHeader, inner.requestHeader), behind(s.header, inner.header)
	s.trusted, s.internal = behind(s.trusted, inner.trusted), behind(s.internal, inner.internal)
	return s
}

// behind returns a list of its own with inner behind outer.
func behind[T any](outer, inner []T) []T { return append(outer[:len(outer):len(outer)], inner...) }

func over[T any](dst **T, src *T) {
	if src != nil {
		*dst = src
	}
}

func said[T any](v *T, otherwise T) T {
	if v == nil {
		return otherwise
	}
	return *v
}

// builder turns a configuration into a site.
type builder struct {
	table     []directive
	modules   *modules
	opt       options
	main      *scope
	vhosts    []*scope
	rules     int                   // how many ProxyPass there are
	users     map[string]*accounts  // by the name of the file
	groups    map[string]*groupFile // by the name of the file
	sections  int                   // how many sections there are
	announced announced
	applied   int             // how many directives were applied, faulty or not
	named     []handlerUse    // handlers that are not known, unless an Action has them
	actions   map[string]bool // what there is an Action for, in lower case
	override  bool            // a .htaccess is read: nothing of the servers changes
	warn      func(err error)

	rewriteRules []rewriteUse
}

// file returns where a file that the configuration names is.
func (b *builder) file(name string) string { return b.opt.file(name) }

func (o *options) file(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(o.Root, name)
}

// build reads a parsed configuration. With an error it returns what could be
// understood as well.
func build(list []*conf.Directive, opt options, warn func(error)) (*builder, error) {
	b := &builder{table: table(), modules: newModules(table()), opt: opt, warn: warn, main: &scope{context: inServer}}
	var all conf.Errors
	all.Add(b.apply(b.main, list))
	b.startTypes()
	all.Add(b.checkHandlers())
	b.checkRewriting()
	b.checkClusters()
	for _, s := range append([]*scope{b.main}, b.vhosts...) {
		b.opt.parents = b.opt.parents || len(s.settings.forward.remotes) > 0
	}
	b.checkForward()
	if len(b.main.listen) == 0 {
		for _, v := range b.vhosts {
			for _, a := range v.addresses {
				_, port := splitAddress(a)
				if !isPort(port) {
					port = "80"
				}
				if !slices.Contains(b.main.listen, port) {
					b.main.listen = append(b.main.listen, port)
				}
			}
		}
	}
	for _, l := range slices.Sorted(maps.Keys(opt.Listen)) { // what -listen names is listened on
		if !slices.ContainsFunc(b.main.listen, func(have string) bool { return coversListen(l, have) }) {
			b.main.listen = append(b.main.listen, l)
		}
	}
	if len(b.main.listen) == 0 && !slices.ContainsFunc(list, func(d *conf.Directive) bool { return d.Is("Listen") }) {
		b.warn(errNothingListens)
	}
	b.surprises()
	return b, all.Err()
}

// errNothingListens is the warning of Load and the error of Start; a Handler serves all
// the same.
var errNothingListens = errors.New("the configuration has neither Listen nor <VirtualHost>, and no -listen is given: nothing listens")

// splitAddress cuts host:port; a host that stands for all is "".
func splitAddress(a string) (host, port string) {
	switch i := strings.LastIndexByte(a, ':'); {
	case strings.Trim(a, "0123456789") == "":
		port = a
	case i < 0 || strings.HasSuffix(a, "]"):
		host = a
	default:
		host, port = a[:i], a[i+1:]
	}
	host = strings.Trim(host, "[]")
	if host == "*" || host == "_default_" || host == "0.0.0.0" || host == "::" {
		host = ""
	}
	return host, port
}

// isPort reports whether s is a port, from 1 to 65535.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s[0] != '+'
}

// checkPort refuses what is behind the scheme of a URL if its port is above 65535.
func checkPort(rest string) error {
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	_, port := splitAddress(rest[strings.LastIndexByte(rest, '@')+1:])
	if strings.Trim(port, "0123456789") == "" && port != "" && !isPort(port) {
		return fmt.Errorf("%s is no port", port)
	}
	return nil
}
