package explain

import (
	"fmt"
	"go/format"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// packages are what a program may import, by the names that it uses.
var packages = map[string]string{
	"access": "proxy/access", "accesslog": "proxy/accesslog", "ajp": "ajp", "backend": "proxy/backend", "balancer": "balancer", "connect": "connect",
	"fcgi": "fcgi", "scgi": "fcgi/scgi", "uwsgi": "fcgi/uwsgi", "ftpproxy": "ftpproxy", "manager": "balancer/manager", "proxy": "proxy", "wstunnel": "wstunnel", "cache": "cache", "disk": "cache/disk",
	"http": "net/http", "httputil": "net/http/httputil", "log": "log", "netip": "net/netip", "os": "os", "slices": "slices", "strings": "strings", "time": "time", "tls": "crypto/tls", "url": "net/url", "regexp": "regexp",
}

var qualified = regexp.MustCompile(`\b([a-z0-9]+)\.[A-Z]`)

// program collects the text.
type program struct {
	body    strings.Builder
	names   map[string]int    // of variables, how often
	helpers map[string]string // functions, by their names
	left    []string          // lines that have no Go here
}

// Program returns a Go program that does what the directives say.
func Program(list []*conf.Directive) (string, error) {
	p := &program{names: make(map[string]int), helpers: make(map[string]string)}
	main := &host{program: p, directives: list}
	var vhosts []*host
	for _, d := range list {
		if d.Section && d.Is("VirtualHost") {
			vhosts = append(vhosts, &host{program: p, at: d, directives: d.Children, outer: main})
		}
	}
	p.line("// handler answers all requests: rules by host and path, of which the first that fits decides.")
	p.line("func handler() (http.Handler, error) {\nvar m proxy.Mux")
	for _, h := range vhosts {
		h.write()
	}
	main.write()
	p.line("return &m, nil\n}")
	p.serve(main, vhosts)
	for _, name := range slices.Sorted(keys(p.helpers)) {
		p.line("\n" + p.helpers[name])
	}
	text := p.body.String()
	var imports []string
	for _, m := range qualified.FindAllStringSubmatch(withoutText(text), -1) {
		if path := packages[m[1]]; path != "" {
			if !standard[m[1]] {
				path = "github.com/modproxy/modproxy/" + path
			}
			imports = append(imports, strconv.Quote(path))
		}
	}
	slices.SortFunc(imports, func(a, b string) int {
		if far := func(s string) int { return strings.Count(s, "github.com") }; far(a) != far(b) {
			return far(a) - far(b)
		}
		return strings.Compare(a, b)
	})
	head := "package main\n\nimport (\n"
	for i, path := range slices.Compact(imports) {
		if i > 0 && strings.Contains(path, "github.com") && !strings.Contains(head, "github.com") {
			head += "\n"
		}
		head += path + "\n"
	}
	out, err := format.Source([]byte(head + ")\n\n" + text))
	return string(out), err
}

// standard are the packages of the standard library among packages.
var standard = map[string]bool{"http": true, "httputil": true, "log": true, "netip": true, "os": true, "slices": true, "strings": true, "time": true, "tls": true, "url": true, "regexp": true}

// withoutText is a program without comments and strings, in which names are none.
func withoutText(text string) string {
	return regexp.MustCompile("(?m)//.*$|\"(?:[^\"\\\\\n]|\\\\.)*\"|`[^`]*`").ReplaceAllString(text, " ")
}

func keys[V any](m map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (p *program) line(text string, args ...any) {
	if len(args) > 0 {
		text = fmt.Sprintf(text, args...)
	}
	p.body.WriteString(text + "\n")
}

// note writes the line of the configuration that comes next.
func (p *program) note(d *conf.Directive) {
	p.line("")
	p.line("// %s", said(d))
}

// said is a directive as it stands, with its place.
func said(d *conf.Directive) string {
	text := strings.TrimSpace(d.Name + " " + d.Raw)
	if d.Section {
		text = "<" + text + ">"
	}
	return oneLine(fmt.Sprintf("%s:%d: %s", d.File, d.Line, text))
}

// oneLine keeps a text from ending a comment.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}

// variable returns a name for a variable that is not used yet.
func (p *program) variable(like string) string {
	p.names[like]++
	if n := p.names[like]; n > 1 {
		return like + strconv.Itoa(n)
	}
	return like
}

// helper adds a function that the program needs, once.
func (p *program) helper(name, text string) { p.helpers[name] = text }

// check returns an error out of a function.
const check = "if err != nil {\nreturn nil, err\n}"

// serve writes the function main: a server for each port.
func (p *program) serve(main *host, vhosts []*host) {
	p.line("\nfunc main() {\nh, err := handler()\nif err != nil {\nlog.Fatal(err)\n}")
	var pairs [][2]string
	for _, h := range append([]*host{main}, vhosts...) {
		on := h.last("SSLEngine")
		file, key := h.last("SSLCertificateFile"), h.last("SSLCertificateKeyFile")
		if on == nil || !strings.EqualFold(on.Args[0], "on") || file == nil {
			continue
		}
		if key == nil {
			key = file
		}
		if pair := [2]string{file.Args[0], key.Args[0]}; !slices.Contains(pairs, pair) {
			pairs = append(pairs, pair)
		}
	}
	plain, secure := ports(main, vhosts)
	if len(secure) > 0 {
		p.line("certificates := &tls.Config{MinVersion: tls.VersionTLS12}")
		p.line("for _, pair := range [][2]string{")
		for _, pair := range pairs {
			p.line("{%q, %q},", pair[0], pair[1])
		}
		p.line("} {\none, err := tls.LoadX509KeyPair(pair[0], pair[1])\nif err != nil {\nlog.Fatal(err)\n}\ncertificates.Certificates = append(certificates.Certificates, one)\n}")
	}
	for i, addr := range append(slices.Clone(plain), secure...) {
		config := ""
		listen := "ListenAndServe()"
		if i >= len(plain) {
			config, listen = ", TLSConfig: certificates", `ListenAndServeTLS("", "")`
		}
		server := fmt.Sprintf("(&http.Server{Addr: %q, Handler: h, ReadHeaderTimeout: 20 * time.Second%s}).%s", addr, config, listen)
		if i == len(plain)+len(secure)-1 {
			p.line("log.Fatal(%s)", server)
		} else {
			p.line("go func() { log.Fatal(%s) }()", server)
		}
	}
	p.line("}")
}

// ports returns the addresses that a configuration listens on, without TLS and with.
func ports(main *host, vhosts []*host) (plain, secure []string) {
	isSecure := func(h *host) bool {
		on := h.last("SSLEngine")
		return on != nil && strings.EqualFold(on.Args[0], "on") && h.last("SSLCertificateFile") != nil
	}
	add := func(to *[]string, address string) {
		host, port := "", address
		if i := strings.LastIndexByte(address, ':'); i >= 0 {
			host, port = address[:i], address[i+1:]
		}
		if host == "*" || host == "_default_" {
			host = ""
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			host, port = address, "80"
		}
		if a := host + ":" + port; !slices.Contains(*to, a) {
			*to = append(*to, a)
		}
	}
	withTLS := make(map[string]bool)
	for _, h := range vhosts {
		for _, a := range h.at.Args {
			if _, port, ok := strings.Cut(a, ":"); ok && isSecure(h) {
				withTLS[port] = true
			}
		}
	}
	listens := false
	for _, d := range main.directives {
		if d.Is("Listen") && !d.Section && len(d.Args) > 0 {
			listens = true
			port := d.Args[0][strings.LastIndexByte(d.Args[0], ':')+1:]
			if withTLS[port] || len(vhosts) == 0 && isSecure(main) {
				add(&secure, d.Args[0])
			} else {
				add(&plain, d.Args[0])
			}
		}
	}
	for _, h := range vhosts {
		for _, a := range h.at.Args {
			switch {
			case listens:
			case isSecure(h):
				add(&secure, a)
			default:
				add(&plain, a)
			}
		}
	}
	if len(plain)+len(secure) == 0 {
		plain = []string{":80"}
	}
	return plain, secure
}
