package apache

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHeaderErrors: what the directives of fields, variables and filters refuse is told.
func TestHeaderErrors(t *testing.T) {
	for text, want := range map[string]string{
		"ProxyPass /a http://b/${X} interpolate":                    `x.conf:2: ProxyPass: "http://b/${X}": variables are replaced when the file is read, and interpolate comes later: proxy.Handler.Rewrite in Go`,
		"ProxyPassReverse /a http://b/${X} interpolate":             `x.conf:2: ProxyPassReverse: "http://b/${X}": variables are replaced when the file is read, and interpolate comes later: proxy.Handler.Rewrite in Go`,
		"ProxyPassReverse /a http://b/ c d":                         `x.conf:2: ProxyPassReverse takes 1 to 3 arguments, not 4`,
		"<Location /a>\nProxyPassReverse /a http://b/\n</Location>": `x.conf:3: ProxyPassReverse: inside a section the path is the section's: leave "/a" out`,
		"ProxyBadHeader Maybe":                                      "x.conf:2: ProxyBadHeader is IsError, Ignore or StartBody",
		"Header set X a expr=":                                      `x.conf:2: Header: expression: byte 1: want a value`,
		"RequestHeader echo X":                                      "x.conf:2: RequestHeader: echo belongs to Header",
		"Header echo (":                                             `x.conf:2: Header: regular expression "(?i)(": missing )`,
		"Header set X a b c":                                        `x.conf:2: Header: "c" is too much`,
		"Header unset X env=!":                                      "x.conf:2: Header: env= wants the name of a variable",
		"Header set X %{A":                                          `x.conf:2: Header: "%{A": want } and e or s`,
		"Header set X %{A}x":                                        `x.conf:2: Header: "%{A}x": %x is not known: %t, %D, %l, %{NAME}e and %{NAME}s are`,
		"Header set X %i":                                           `x.conf:2: Header: "%i": %i counts idle and busy workers, and there are none`,
		"Header set Content-Length 5":                               "x.conf:2: Header: Content-Length says where the body ends and cannot be changed",
		"RequestHeader set Content-Length 1":                        "x.conf:2: RequestHeader: Content-Length says where the body ends and cannot be changed: variable proxy-sendcl gives it a length",
		"RequestHeader unset Transfer-Encoding":                     "x.conf:2: RequestHeader: Transfer-Encoding says where the body ends and cannot be changed: variable proxy-sendcl gives it a length",
		"SetOutputFilter INCLUDES":                                  "x.conf:2: SetOutputFilter: INCLUDES is not supported: pages with server-side includes are not put together here",
		"AddOutputFilterByType RATE_LIMIT text/html":                "x.conf:2: AddOutputFilterByType: RATE_LIMIT is not supported: answers go as fast as their client reads",
		"FilterProvider A OTHER true":                               "x.conf:2: FilterProvider: filter OTHER is not supported: DEFLATE, INFLATE, SUBSTITUTE and proxy-html are",
		"DeflateCompressionLevel 10":                                `x.conf:2: DeflateCompressionLevel: "10" is no number from 1 to 9`,
		"DeflateFilterNote other name":                              `x.conf:2: DeflateFilterNote: "other" is neither Input, Output nor Ratio`,
		"DeflateAlterETag On":                                       `x.conf:2: DeflateAlterETag: "On" is neither AddSuffix, NoChange nor Remove`,
		"Substitute x/a/b/":                                         "x.conf:2: Substitute: want s/pattern/substitution/flags",
		"Substitute s/a/b/x":                                        "x.conf:2: Substitute: flag 'x' is not known: n, i, f and q are",
		"SubstituteMaxLineLength 1x":                                `x.conf:2: SubstituteMaxLineLength: "1x" is no number of bytes`,
		"SetEnvIfExpr true !":                                       `x.conf:2: SetEnvIfExpr: "!" names no variable`,
		"SetEnvIf OID(1.2) a b":                                     `x.conf:2: SetEnvIf: attribute "OID(1.2)": parts of certificates are not known by their numbers`,
	} {
		_, _, err := read("Listen 80\n" + text)
		require.EqualError(t, err, want, text)
	}
}

// TestHeaderWarnings: what is harmless to leave out is told, and the rest stays.
func TestHeaderWarnings(t *testing.T) {
	for text, want := range map[string]string{
		"ProxyBadHeader Ignore":                                         "ProxyBadHeader Ignore has no effect",
		"Header unset Content-Length":                                   "Content-Length says where the body ends and stays",
		"<Location /a>\nHeader set X a early\n</Location>":              "early has no effect in a section",
		"AddOutputFilterByType BROTLI_COMPRESS;DEFLATE text/html":       "BROTLI_COMPRESS is left out",
		"SetOutputFilter xml2enc":                                       "XML2ENC is left out",
		"SetEnv force-proxy-request-1.0 1":                              "force-proxy-request-1.0: backends get HTTP/1.1",
		"SetEnvIf X a proxy-initial-not-pooled":                         "proxy-initial-not-pooled: a request",
		"BrowserMatch MSIE nokeepalive downgrade-1.0":                   "downgrade-1.0: answers are in HTTP/1.1",
		"SetEnv proxy-sendcl 1":                                         "",
		"SetEnv redirect-carefully 1\nSetEnv ssl-unclean-shutdown 1":    "",
		"ProxyPass / http://b/ interpolate\nProxyPassInterpolateEnv On": "",
	} {
		_, warnings, err := read("Listen 80\n" + text)
		require.NoError(t, err, text)
		if want == "" {
			require.Empty(t, warnings, text)
			continue
		}
		require.Len(t, warnings, 1, text)
		require.Contains(t, warnings[0], want)
	}
}
