package apache

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/tunnel"
)

// shape is all that can be seen of a scope without following pointers to functions.
func shape(s *scope) string {
	var b strings.Builder
	var walk func(v reflect.Value, depth int)
	walk = func(v reflect.Value, depth int) {
		if depth > 6 {
			return
		}
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				fmt.Fprintf(&b, "%s{", v.Type().Field(i).Name)
				walk(v.Field(i), depth+1)
				b.WriteString("}")
			}
		case reflect.Slice, reflect.Array:
			fmt.Fprintf(&b, "[%d", v.Len())
			for i := range v.Len() {
				walk(v.Index(i), depth+1)
			}
		case reflect.Map:
			fmt.Fprintf(&b, "map%d", v.Len())
		case reflect.Pointer:
			fmt.Fprintf(&b, "%v", v.IsNil())
			if !v.IsNil() && v.Elem().Kind() != reflect.Struct {
				walk(v.Elem(), depth+1)
			}
		case reflect.Func, reflect.Interface, reflect.Chan:
			fmt.Fprintf(&b, "%v", v.IsNil())
		default:
			fmt.Fprintf(&b, "%v", v)
		}
	}
	walk(reflect.ValueOf(s).Elem(), 0)
	return b.String()
}

// TestOverridesChangeNothingElse: whatever a .htaccess says, the server that is at
// work stays as it is, for requests read it without a lock.
func TestOverridesChangeNothingElse(t *testing.T) {
	b, _, err := read("Listen 80\n<VirtualHost *:80>\nServerName h.test\nDocumentRoot /srv\n<Directory /srv>\nAllowOverride All\n</Directory>\n</VirtualHost>")
	require.NoError(t, err)
	g, err := newGeneration(b, &logFiles{stdout: io.Discard, stderr: io.Discard}, new(tunnel.Registry), nil)
	require.NoError(t, err)
	defer g.close()
	h := g.hosts[1]
	before, main, opt := shape(h.scope), shape(b.main), fmt.Sprintf("%+v", g.opt)
	words := []string{"", "On", "none", "require", "all granted", "/x", "/x http://b.test/", "^/x$ /y", "\"proxy:balancer://new/\"", "proxy:fcgi://127.0.0.1:9000", "file", "set X y", "a b", "text/html .html", "5", "Basic", "%{X} y", "X y z", "optional", "404 /x", "permanent /a /b", "deny,allow", "from all", "index.html", "+Indexes", "\"access plus 1 day\"", "HIGH"}
	applied := 0
	for _, d := range table() {
		if _, ok := overrideClassOf(d.name); !ok || d.section {
			continue
		}
		for _, w := range words {
			text := d.name + " " + w + "\n"
			if _, err := new(overrides).parse(h, overrideKey{name: "/srv/.htaccess", allowed: permission{by: &override{classes: overrideAll}}}, []byte(text)); err == nil {
				applied++
			}
			require.Equal(t, before, shape(h.scope), text)
			require.Equal(t, main, shape(b.main), text)
			require.Equal(t, opt, fmt.Sprintf("%+v", g.opt), text)
		}
	}
	require.Greater(t, applied, 200)
}

// TestOverridesOfTheHandshake: a .htaccess cannot ask for a certificate that the
// handshake has not asked for, and says so.
func TestOverridesOfTheHandshake(t *testing.T) {
	root := writeFiles(t, map[string]string{"in/a.txt": "a", "in/.htaccess": "SSLVerifyClient require\n"})
	p := start(t, "DocumentRoot "+root+"\n<Directory "+root+">\nAllowOverride All\n</Directory>\n", echo)
	resp, _ := p.get("80", "h.test/in/a.txt")
	require.Equal(t, 500, resp.StatusCode)
	require.Contains(t, p.stderr.String(), "in the handshake, before a .htaccess is read")
}
