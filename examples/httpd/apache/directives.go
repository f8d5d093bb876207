package apache

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// place is where a directive may stand.
type place uint8

const (
	inServer    place = 1 << iota // outside of all sections
	inVhost                       // in <VirtualHost>
	inLocation                    // in <Location>, <LocationMatch>
	inProxy                       // in <Proxy>, <ProxyMatch>
	inRequire                     // in <RequireAll> and its kin
	inDirectory                   // in <Directory>, <DirectoryMatch>, <Files>, <FilesMatch>
	inIf                          // in <If>, <ElseIf>, <Else>
	anyServer   = inServer | inVhost
	inSection   = inLocation | inDirectory | inProxy | inIf
	anywhere    = anyServer | inSection
)

// directive is what the table knows of one directive.
type directive struct {
	name     string
	section  bool
	in       place
	min, max int    // arguments; a max below zero is no limit
	note     string // for those accepted without effect or refused: why
	refused  bool
	apply    func(b *builder, s *scope, d *conf.Directive) error // nil: accepted without effect
}

// table is all that this server knows. A package that brings directives brings
// a file with a function like these.
func table() []directive {
	return slices.Concat(coreDirectives(), stockDirectives(), requestLimitDirectives(), sectionDirectives(), conditionalDirectives(), clientDirectives(), proxyDirectives(), balancerDirectives(), healthDirectives(), sslProxyDirectives(), sslDirectives(), accessDirectives(), digestDirectives(), limitDirectives(), compatDirectives(), logDirectives(),
		headerDirectives(), filterDirectives(), envDirectives(), remoteIPDirectives(), fcgiDirectives(), scgiDirectives(), diskDirectives(), forwardDirectives(), authDirectives(), ftpDirectives(), webSocketDirectives(), cacheDirectives(),
		rewriteDirectives(), redirectDirectives(), htmlDirectives(), acceptedDirectives(), refusedDirectives())
}

// acceptedDirectives are those that change nothing here.
func acceptedDirectives() []directive {
	accept := func(note string, names ...string) (list []directive) {
		for _, n := range names {
			list = append(list, directive{name: n, in: anywhere, min: 0, max: -1, note: note})
		}
		return list
	}
	return slices.Concat(
		accept("the system copies files by itself", "EnableSendfile", "EnableMMAP"),
		accept("the process is the embedder's", "PidFile", "User", "Group", "Mutex", "CoreDumpDirectory", "ServerAdmin"),
		accept("the Server field is the backend's, and none is made up", "ServerTokens", "ServerSignature"),
		accept("names are those of the configuration, and never looked up", "HostnameLookups"),
		accept("users that the file does not have are asked again, as those with a wrong password", "AuthBasicAuthoritative"),
		accept("nonces are seen from themselves, and not counted", "AuthDigestShmemSize", "AuthDigestNcCheck"),
		accept("Go chooses among safe suites alone", "SSLProxyCipherSuite"),
		accept("chains are as long as they are", "SSLProxyVerifyDepth"),
		accept("httpd does not apply it to requests that are proxied either", "LimitRequestBody"),
		acceptedTLS(accept),
		accept("goroutines need no tuning", "StartServers", "ServerLimit", "ThreadsPerChild", "MaxRequestWorkers", "MinSpareThreads", "MaxSpareThreads", "MinSpareServers", "MaxSpareServers", "ThreadLimit", "MaxConnectionsPerChild", "AsyncRequestWorkerFactor", "ListenBackLog"),
		accept("the number of requests on a connection has no limit", "MaxKeepAliveRequests"),
		accept("buffers are sized by the library", "ProxyIOBufferSize", "ProxyReceiveBufferSize"),
	)
}

// refusedDirectives are known, but would be dangerous or misleading to ignore.
func refusedDirectives() []directive {
	refuse := func(note string, names ...string) (list []directive) {
		for _, n := range names {
			list = append(list, directive{name: n, in: anywhere | inRequire, min: 0, max: -1, note: note, refused: true})
		}
		return list
	}
	list := slices.Concat(
		refusedTLS(refuse),
		refuse("other digests than those of htpasswd are not checked", "AuthBasicUseDigestAlgorithm"),
		refuse("there is no mod_auth_form: let a service in front or behind ask for names", "AuthFormProvider", "AuthFormLoginRequiredLocation", "AuthFormLoginSuccessLocation", "AuthFormLogoutLocation", "AuthFormUsername", "AuthFormPassword", "AuthFormAuthoritative", "AuthFormFakeBasicAuth", "AuthFormSitePassphrase"),
		refuse("there is no mod_authnz_ldap", "AuthLDAPURL", "AuthLDAPBindDN", "AuthLDAPBindPassword", "AuthLDAPGroupAttribute", "AuthLDAPGroupAttributeIsDN", "AuthLDAPRemoteUserAttribute"),
		refuse("lists of revoked certificates are not read", "SSLProxyCARevocationFile", "SSLProxyCARevocationPath", "SSLProxyCARevocationCheck"),
		refuse("put the intermediate certificates into SSLProxyMachineCertificateFile", "SSLProxyMachineCertificateChainFile"),
		refuse("bodies of requests are not changed on their way", "SetInputFilter", "AddInputFilter", "RemoveInputFilter"),
		refuse("who stood in between is not passed on", "RemoteIPProxiesHeader"),
	)
	return list
}

// apply runs the directives of a section, and returns all that is wrong.
func (b *builder) apply(s *scope, list []*conf.Directive) error {
	b.applied += len(list)
	var all conf.Errors
	for _, d := range list {
		if err := b.applyOne(s, d); err != nil {
			all.Add(locate(d, err))
		}
	}
	return all.Err()
}

func (b *builder) applyOne(s *scope, d *conf.Directive) error {
	known, err := b.find(d)
	n := len(d.Args)
	switch {
	case err != nil:
	case known.refused:
		err = d.Errorf("%s is not supported: %s", known.name, known.note)
	case known.in&s.context == 0:
		err = d.Errorf("%s may not stand here", known.name)
	case n < known.min || known.max >= 0 && n > known.max:
		err = d.Errorf("%s takes %s, not %d", known.name, arity(known), n)
	case known.apply == nil:
		return nil
	default:
		before := b.applied
		if err = known.apply(b, s, d); err == nil || b.applied > before {
			return err
		}
		err = locate(d, err)
	}
	return conf.Join(err, b.checkNames(d.Children))
}

// checkNames looks at the directives of a section that itself is none: where they
// would stand is unknown, but each must be one.
func (b *builder) checkNames(list []*conf.Directive) error {
	var all conf.Errors
	for _, d := range list {
		known, err := b.find(d)
		if err == nil && known.refused {
			err = d.Errorf("%s is not supported: %s", known.name, known.note)
		}
		all.Add(err)
		all.Add(b.checkNames(d.Children))
	}
	return all.Err()
}

// locate says where an error arose, unless it knows.
func locate(d *conf.Directive, err error) error {
	if several, ok := err.(conf.Errors); ok {
		located := make(conf.Errors, len(several))
		for i, one := range several {
			located[i] = locate(d, one)
		}
		return located
	}
	var at *conf.Error
	if errors.As(err, &at) {
		return err
	}
	return d.Errorf("%s: %w", d.Name, err)
}

func arity(d directive) string {
	switch {
	case d.min == d.max:
		return fmt.Sprintf("%d argument(s)", d.min)
	case d.max < 0:
		return fmt.Sprintf("at least %d argument(s)", d.min)
	}
	return fmt.Sprintf("%d to %d arguments", d.min, d.max)
}

func (b *builder) find(d *conf.Directive) (directive, error) {
	var names []string
	for _, known := range b.table {
		if known.section != d.Section {
			continue
		}
		if d.Is(known.name) {
			return known, nil
		}
		if !known.refused {
			names = append(names, known.name)
		}
	}
	if err := b.modules.unknown(d); err != nil {
		return directive{}, err
	}
	what := d.Name
	if d.Section {
		what = "<" + what + ">"
	}
	near, ok := conf.Nearest(d.Name, names)
	if ok && d.Section {
		near = "<" + near + ">"
	}
	return directive{}, didYouMean(d.Errorf("%s is not known", what), near)
}

// didYouMean adds to an error the word that may have been meant, if any.
func didYouMean(err error, near string) error {
	if near == "" {
		return err
	}
	return conf.WithHint(err, "did you mean "+near+"?")
}

// onOff reads a switch.
func onOff(d *conf.Directive) (bool, error) {
	switch strings.ToLower(d.Args[0]) {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, d.Errorf("%s is On or Off", d.Name)
}
