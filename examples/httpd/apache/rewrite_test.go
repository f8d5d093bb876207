package apache

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRewriteErrors: what is wrong with a rule or redirect is told at the start.
func TestRewriteErrors(t *testing.T) {
	for text, want := range map[string]string{
		"RewriteRule ^/ /x L":              `x.conf:2: RewriteRule: flags stand in brackets, and a word with blanks in quotes`,
		"RewriteRule ^/ /x [NX]":           `x.conf:2: RewriteRule: flag "nx" is not known`,
		"RewriteRule ^/ /x [H=cgi-script]": "x.conf:2: RewriteRule: handler \"cgi-script\": scripts are not run here; an application that speaks FastCGI or HTTP is reached by \"proxy:…\"",
		"RewriteRule ^/ gopher2://b/ [P]":  `x.conf:2: RewriteRule: scheme "gopher2" is not known`,
		"RewriteCond %{X} a OR":            `x.conf:2: RewriteCond: flags stand in brackets, and a word with blanks in quotes`,
		"RewriteCond expr \"%{X}\"":        "x.conf:2: RewriteCond: expression: byte 1: variable %{X} is not known",
		"RewriteBase /":                    "x.conf:2: RewriteBase may not stand here",
		"RewriteMap m prg:/bin/m":          "x.conf:2: RewriteMap: prg: is not supported, for no programs are started: txt: with a file can do the same",
		"RewriteOptions Inherits":          `x.conf:2: RewriteOptions: option "Inherits" is not known`,
		"Redirect /x":                      "x.conf:2: Redirect: the URL to redirect to is missing",
		"Redirect 999 /x":                  `x.conf:2: Redirect: "999" is no status`,
		"Redirect /x y":                    `x.conf:2: Redirect: "y" is no URL, nor a path that begins with a slash`,
		"Redirect x http://b/":             `x.conf:2: Redirect: path "x" does not begin with a slash`,
		"Redirect gone /x /y":              "x.conf:2: Redirect: status 410 takes no URL",
		"Redirect odd /x http://b/":        `x.conf:2: Redirect: "odd" is no status`,
	} {
		_, _, err := read("Listen 80\n" + text)
		require.EqualError(t, err, want, text)
	}
}
