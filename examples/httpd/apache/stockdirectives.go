package apache

import (
	"fmt"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// stockDirectives are those of stock files that concern httpd's own processes, or
// what is never different here: without effect, some of them with a warning.
func stockDirectives() []directive {
	accept := func(note string, names ...string) (list []directive) {
		for _, n := range names {
			list = append(list, directive{name: n, in: anywhere, max: -1, note: note})
		}
		return list
	}
	// told warns unless all words are among those that change nothing.
	told := func(name, why string, harmless ...string) directive {
		return directive{name: name, in: anywhere, min: 1, max: -1, note: why + ": a warning", apply: func(b *builder, _ *scope, d *conf.Directive) error {
			for _, word := range d.Args {
				if !slices.ContainsFunc(harmless, func(h string) bool { return strings.EqualFold(h, word) }) {
					b.warn(d.Errorf("%s %s has no effect: %s", d.Name, strings.Join(d.Args, " "), why))
					break
				}
			}
			return nil
		}}
	}
	return slices.Concat(
		accept("the process is the embedder's", "ScoreBoardFile", "Suexec", "SuexecUserGroup", "LoadFile", "WatchdogInterval", "MaxMemFree", "ThreadStackSize", "RLimitCPU", "RLimitMEM", "RLimitNPROC"),
		accept("goroutines need no tuning", "MaxClients", "MaxRequestsPerChild", "ListenCoresBucketsRatio", "ListenTCPDeferAccept", "AcceptFilter", "GracefulShutdownTimeout", "SendBufferSize", "ReceiveBufferSize", "ReadBufferSize", "FlushMaxThreshold", "FlushMaxPipelined"),
		accept("the status page always shows what is known", "ExtendedStatus", "SeeRequestTail"),
		accept("requests of all methods are passed on", "RegisterHttpMethod"),
		accept("no CGI program is run", "ScriptSock", "ScriptLog", "ScriptLogBuffer", "ScriptLogLength", "CGIScriptTimeout", "CGIDScriptTimeout"),
		accept("internal redirects are bounded by 10", "LimitInternalRecursion"),
		accept("httpd applies it to no request that is proxied", "LimitXMLRequestBody"),
		[]directive{
			told("NameVirtualHost", "virtual hosts on one address are told apart by name in any case"),
			told("ServerPath", "clients say by Host which virtual host they want"),
			told("ChrootDir", "the root of the process is the embedder's"),
			told("MergeSlashes", "slashes are always merged before paths are compared", "On"),
			told("MergeTrailers", "trailers stay trailers", "Off"),
			told("QualifyRedirectURL", "REDIRECT_URL is a path", "Off"),
			told("HttpProtocolOptions", "requests are read strictly, and their methods are not looked up", "Strict", "LenientMethods", "Allow0.9", "Require1.0"),
			told("UseCanonicalPhysicalPort", "the port is that of ServerName or of the client's Host", "Off"),
			{name: "UserDir", in: anyServer, min: 1, max: -1, note: "disabled alone", apply: func(_ *builder, _ *scope, d *conf.Directive) error {
				if !strings.EqualFold(d.Args[0], "disabled") {
					return fmt.Errorf("folders of users are not served; Alias leads to one")
				}
				return nil
			}},
		},
	)
}
