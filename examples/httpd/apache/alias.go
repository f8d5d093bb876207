package apache

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/pattern"
)

// alias is an Alias or AliasMatch.
type alias struct {
	path    string           // of the URL
	pattern *pattern.Pattern // of AliasMatch, in place of path
	to      string           // on disk
	scripts bool             // ScriptAlias
}

// aliasDirectives are those of mod_alias that lead to files.
func aliasDirectives() []directive {
	return []directive{
		{name: "Alias", in: anyServer | inLocation, min: 1, max: 2, apply: applyAlias},
		{name: "AliasMatch", in: anyServer, min: 2, max: 2, apply: applyAlias},
		{name: "ScriptAlias", in: anyServer | inLocation, min: 1, max: 2, note: "its files are for SetHandler and Action alone: none is run by itself, and none served", apply: applyAlias},
		{name: "ScriptAliasMatch", in: anyServer, min: 2, max: 2, note: "as ScriptAlias", apply: applyAlias},
	}
}

// applyAlias reads "path file", and inside of <Location> "file".
func applyAlias(b *builder, s *scope, d *conf.Directive) (err error) {
	match := strings.HasSuffix(strings.ToLower(d.Name), "match")
	a := alias{scripts: strings.HasPrefix(strings.ToLower(d.Name), "script")}
	switch {
	case s.context == inLocation:
		if len(d.Args) != 1 {
			return fmt.Errorf("inside <Location> the path is the section's: want a file or folder alone")
		}
		if strings.Contains(d.Args[0], "%{") {
			return fmt.Errorf("expressions in names of files are not supported: %q", d.Args[0])
		}
		a.to = b.file(d.Args[0])
	case len(d.Args) != 2:
		return fmt.Errorf("want a path and a file or folder")
	default:
		a.path, a.to = d.Args[0], d.Args[1]
		if !match || !strings.HasPrefix(a.to, "$") {
			a.to = b.file(a.to)
		}
		if match {
			if a.pattern, err = pattern.Compile(a.path); err != nil {
				return err
			}
		}
	}
	if a.scripts {
		b.warn(d.Errorf("%s: nothing is run here, and what no SetHandler leads elsewhere is answered with 403", d.Name))
	}
	s.aliases = append(s.aliases, a)
	return nil
}

// byAliases leads to a file what an Alias takes: that of the last <Location>, or
// the first of the list, that of the virtual host before that of the main server.
func (h *host) byAliases(v *visit, r *http.Request) (*http.Request, bool, int) {
	for i := len(h.locations) - 1; i >= 0; i-- {
		l := h.locations[i]
		if n := len(l.aliases); n > 0 && l.contains(v.path) {
			v.leads(l.aliases[n-1], "", "")
			return r, true, 0
		}
	}
	for _, a := range h.aliases {
		if a.pattern != nil {
			if groups := a.pattern.FindStringSubmatch(v.path); groups != nil {
				to := cleanPath("/" + substitute(a.to, groups))
				v.found.file, v.found.root, v.found.scripts = to, "/", a.scripts
				return r, true, 0
			}
			continue
		}
		if rest, ok := a.takes(v.path); ok {
			v.leads(a, a.path, rest)
			return r, true, 0
		}
	}
	return r, false, 0
}

// leads makes a file below an Alias the destination.
func (v *visit) leads(a alias, prefix, rest string) {
	v.found.file = a.to + rest
	v.found.root = cleanFolder(a.to)
	v.found.prefix, v.found.context = strings.TrimRight(prefix, "/"), v.found.root
	v.found.scripts = a.scripts
}

// takes returns what follows the path of the Alias, as the end of a name: slashes
// at the end of the path are those of the name, too.
func (a *alias) takes(at string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(at, a.path)
	if !ok || rest != "" && rest[0] != '/' && !strings.HasSuffix(a.path, "/") {
		return "", false
	}
	return rest, true
}
