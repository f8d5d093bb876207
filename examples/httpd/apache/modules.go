package apache

import (
	_ "embed"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// modulesText names the modules of httpd and of third parties, and the directives
// of each.
//
//go:embed modules.txt
var modulesText string

// modules knows which module a directive belongs to, and which of them the table
// of directives has.
type modules struct {
	names      map[string][]string // httpd's, without mod_, with their directives
	owner      map[string]string   // of httpd's directives, in lower case
	others     []otherModule
	directives map[string]bool // of the table, in lower case, with a "<" before sections; true for those with an effect
}

// otherModule is one of a third party.
type otherModule struct {
	names      []string
	instead    string
	directives []string // in lower case
}

func newModules(table []directive) *modules {
	m := &modules{names: make(map[string][]string), owner: make(map[string]string), directives: make(map[string]bool)}
	own, others, _ := strings.Cut(modulesText, "\nother\n")
	for line := range strings.Lines(own) {
		name, list, ok := strings.Cut(line, ":")
		if !ok || line[0] == '#' {
			continue
		}
		m.names[name] = strings.Fields(strings.ToLower(list))
		for _, d := range m.names[name] {
			m.owner[d] = name
		}
	}
	for line := range strings.Lines(others) {
		if part := strings.Split(strings.TrimSpace(line), "\t"); len(part) == 3 {
			m.others = append(m.others, otherModule{strings.Split(part[0], ","), part[1], strings.Fields(strings.ToLower(part[2]))})
		}
	}
	for _, d := range table {
		if !d.refused {
			m.directives[d.key()] = d.apply != nil
		}
	}
	return m
}

// key is the name of a directive as modules has it.
func (d directive) key() string { return key(d.name, d.section) }

func key(name string, section bool) string {
	if section {
		name = "<" + name
	}
	return strings.ToLower(name)
}

// sourceFiles are the names of modules for <IfModule> that are not "mod_NAME.c".
var sourceFiles = map[string]string{
	"core.c": "core", "http_core.c": "http", "event.c": "mpm_event", "prefork.c": "mpm_prefork", "worker.c": "mpm_worker", "util_ldap.c": "ldap",
}

// moduleName cuts what is around the name of a module in <IfModule> and LoadModule.
func moduleName(word string) (string, bool) {
	if name, ok := sourceFiles[word]; ok {
		return name, true
	}
	if file, ok := strings.CutPrefix(word, "mod_"); ok && !strings.HasPrefix(file, "mpm_") {
		return strings.CutSuffix(file, ".c")
	}
	return strings.CutSuffix(word, "_module")
}

// schemes are those that a module is for which has no directive.
var schemes = map[string]string{
	"proxy_http": "http", "proxy_http2": "h2", "proxy_ajp": "ajp", "proxy_fcgi": "fcgi", "proxy_scgi": "scgi", "proxy_uwsgi": "uwsgi", "proxy_ftp": "ftp", "proxy_wstunnel": "ws",
}

// telling are the directives by which a module counts that has others, too, which
// are here for another reason.
var telling = map[string]string{"ssl": "sslengine", "http2": "protocols"}

// has reports whether <IfModule word> holds. As in httpd, that is a file's name as
// in mod_proxy.c, or one as in proxy_module.
func (m *modules) has(word string) bool {
	name, ok := moduleName(word)
	if !ok {
		return false
	}
	switch name {
	case "core", "http", "so", "unixd", "watchdog", "version", "macro", "logio", "negotiation", "mpm_event", "slotmem_shm", "socache_shmcb", "authz_host", "authz_user", "authn_core", "proxy_balancer", "status":
		return true // parts of what is always here
	}
	if scheme := schemes[name]; scheme != "" {
		return checkScheme(scheme) == nil
	}
	if method, ok := strings.CutPrefix(name, "lbmethod_"); ok {
		return slices.Contains(methods, method)
	}
	if d := telling[name]; d != "" {
		return m.directives[d]
	}
	return slices.ContainsFunc(m.names[name], func(d string) bool { return m.directives[d] })
}

// unknown says of a directive that is none whose it is, and what would do.
func (m *modules) unknown(d *conf.Directive) error {
	k, what := key(d.Name, d.Section), d.Name
	if d.Section {
		what = "<" + what + ">"
	}
	if name := m.owner[k]; name != "" {
		hint := "leave it out"
		if module := "mod_" + name + ".c"; !m.has(module) {
			hint = "<IfModule " + module + "> leaves it out"
		}
		return conf.WithHint(d.Errorf("%s of mod_%s is not part of this program", what, name), hint)
	}
	for _, o := range m.others {
		if slices.ContainsFunc(o.directives, func(pattern string) bool {
			prefix, any := strings.CutSuffix(pattern, "*")
			return k == pattern || any && strings.HasPrefix(k, prefix)
		}) {
			return conf.WithHint(d.Errorf("%s of mod_%s is not part of this program", what, o.names[0]), o.instead)
		}
	}
	return nil
}

// loads says what is to be known of LoadModule, if anything.
func (m *modules) loads(d *conf.Directive) error {
	name, ok := moduleName(d.Args[0])
	if _, known := m.names[name]; known && ok {
		return nil // what it does it does by directives, and those are looked at
	}
	for _, o := range m.others {
		if slices.Contains(o.names, name) {
			return conf.WithHint(d.Errorf("%s is not part of this program", d.Args[0]), o.instead)
		}
	}
	return d.Errorf("%s is not known here, and does nothing", d.Args[0])
}

// skipped says of a section <IfModule> that is left out what in it would have an
// effect, if anything.
func (m *modules) skipped(section *conf.Directive, inner []*conf.Directive) error {
	for _, d := range inner {
		if m.directives[key(d.Name, d.Section)] {
			return section.Errorf("<IfModule %s> is left out, for that module is not part of this program; %s in line %d has no effect", section.Args[0], d.Name, d.Line)
		}
	}
	return nil
}
