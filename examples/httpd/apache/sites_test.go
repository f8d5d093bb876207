package apache

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/modproxy/modproxy/examples/programs"
)

// siteModules are what httpd has of modules for all sites.
const siteModules = "access_compat actions alias allowmethods auth_basic auth_digest authn_core authn_file authz_groupfile authz_host authz_user autoindex brotli cache cache_disk socache_shmcb deflate dir env expires ext_filter filter headers http2 include " +
	"lbmethod_bybusyness lbmethod_byrequests lbmethod_bytraffic macro mime negotiation proxy proxy_ajp proxy_balancer proxy_connect proxy_fcgi proxy_http proxy_uwsgi proxy_wstunnel ratelimit remoteip reqtimeout rewrite setenvif slotmem_shm ssl status substitute unique_id vhost_alias xml2enc proxy_html"

// siteBackends are the backends of a site, by the words of its configuration.
type siteBackends struct {
	recordings map[string]*recording
	addrs      map[string]string // where they are
	sockets    map[string]string // those in the file system, by their names there
}

var (
	backendURL    = regexp.MustCompile(`\b(https?|wss?|ajp|fcgi|uwsgi)://([A-Za-z0-9.-]+:[0-9]+)`)
	backendSocket = regexp.MustCompile(`unix:(/[^|]+)\|(\w+)`)
	absolutePath  = regexp.MustCompile(`(?m)(^|[\s"'=|:(!^]|fcgi://[^/\s"]+)(/(?:etc|var|run|srv|opt|home|usr/share|usr/local)\b)`)
)

// tellingApp tells what it is told.
const tellingApp = `
def application(env, start):
    start('200 OK', [('Content-Type', 'text/plain'), ('X-Frame-Options', 'DENY')])
    names = ['SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'REQUEST_METHOD', 'REQUEST_URI', 'SERVER_NAME', 'SERVER_PORT', 'HTTPS', 'REMOTE_ADDR', 'REMOTE_USER', 'HTTP_HOST', 'HTTP_AUTHORIZATION', 'HTTP_X_FORWARDED_PROTO', 'CONTENT_TYPE', 'CONTENT_LENGTH']
    told = ''.join('%s=%s\n' % (n, env[n]) for n in names if n in env)
    return [told.encode() + env['wsgi.input'].read(int(env.get('CONTENT_LENGTH') or 0))]
`

// startBackends starts what a configuration leads to: php-fpm for fcgi, uWSGI for
// uwsgi, Tomcat for ajp, and for all else recordings.
func startBackends(t *testing.T, s siteFile, certificate tls.Certificate) *siteBackends {
	b := &siteBackends{make(map[string]*recording), make(map[string]string), make(map[string]string)}
	for _, m := range backendURL.FindAllStringSubmatch(regexp.MustCompile(`(?m)^\s*ServerName.*`).ReplaceAllString(s.text(), ""), -1) {
		scheme, addr := m[1], m[2]
		switch {
		case b.addrs[addr] != "" || strings.HasSuffix(scheme, "s") && b.recordings[addr] != nil:
		case scheme == "fcgi":
			if !strings.Contains(addr, ".") && !strings.HasPrefix(addr, "localhost") {
				continue // the name of a socket
			}
			b.addrs[addr] = programs.PHPFPM(t, programs.PHPFPMOptions{}).Addr
		case scheme == "uwsgi":
			b.addrs[addr] = programs.UWSGI(t, programs.UWSGIOptions{App: tellingApp}).Addr
		case scheme == "ajp":
			b.addrs[addr] = programs.Tomcat(t, programs.TomcatOptions{}).Addr
		default:
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			if b.addrs[addr] = l.Addr().String(); scheme == "https" || scheme == "wss" {
				l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{certificate}})
			}
			b.recordings[addr] = newRecordingAt(t, l)
		}
	}
	for _, m := range backendSocket.FindAllStringSubmatch(s.text(), -1) {
		path, scheme := m[1], m[2]
		switch {
		case b.sockets[path] != "":
		case scheme == "fcgi":
			b.sockets[path] = programs.PHPFPM(t, programs.PHPFPMOptions{Unix: true}).Addr
		case scheme == "uwsgi":
			b.sockets[path] = programs.UWSGI(t, programs.UWSGIOptions{App: tellingApp, Unix: true}).Addr
		default:
			b.sockets[path] = filepath.Join(programs.Folder(t), "s")
			l, err := net.Listen("unix", b.sockets[path])
			require.NoError(t, err)
			require.NoError(t, os.Chmod(b.sockets[path], 0o777))
			b.recordings[path] = newRecordingAt(t, l)
		}
	}
	return b
}

// moved leads the addresses of a text to where the backends are.
func (b *siteBackends) moved(text string) string {
	var pairs []string
	for configured, addr := range b.addrs {
		pairs = append(pairs, "//"+configured, "//"+addr)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// text is all of the configuration.
func (s siteFile) text() string {
	text := s.conf
	for name, file := range s.files {
		if isConfiguration(name) {
			text += "\n" + file
		}
	}
	return text
}

func isConfiguration(file string) bool {
	return strings.HasPrefix(file, "/etc/") && !strings.Contains(file, "passw") || strings.HasSuffix(file, ".htaccess")
}

// build makes the files of a site below a new folder, and returns the name of the
// configuration. change is done to what is read as configuration.
func (s siteFile) build(t *testing.T, p *pki, b *siteBackends, change func(string) string) (root, file string) {
	frame, err := os.ReadFile("testdata/sites/apache2.conf")
	require.NoError(t, err)
	root = programs.Folder(t)
	file = "/etc/apache2/apache2.conf"
	tree := map[string]string{
		"/etc/mime.types": "text/html html\ntext/css css\ntext/plain txt\ntext/javascript js\nimage/png png\nimage/svg+xml svg\napplication/json json\n",
		file:              "Define APACHE_LOG_DIR /var/log/apache2\n" + string(frame), "/etc/apache2/sites-enabled/site.conf": s.conf,
	}
	for name, text := range s.files {
		tree[name] = text
	}
	for name, from := range map[string]string{"Certificate": "a.pem", "CertificateKey": "a.key", "CertificateChain": "ca.pem", "CACertificate": "ca.pem"} {
		for _, m := range regexp.MustCompile(`(?m)^\s*SSL`+name+`File\s+"?([^\s"]+)`).FindAllStringSubmatch(s.text(), -1) {
			text, err := os.ReadFile(p.file(from))
			require.NoError(t, err)
			tree[m[1]] = string(text)
		}
	}
	for name, text := range tree {
		if strings.TrimSpace(text) == "@tell" {
			tree[name] = tellingScript
		}
		if isConfiguration(name) {
			tree[name] = change(absolutePath.ReplaceAllString(text, "${1}"+root+"${2}"))
		}
	}
	folders := []string{"/var/log/apache2"}
	for _, m := range regexp.MustCompile(`(?m)^\s*(DocumentRoot|CacheRoot|ErrorLog|CustomLog)\s+"?(/[^\s"]+)`).FindAllStringSubmatch(s.text(), -1) {
		if strings.HasSuffix(m[1], "Log") {
			m[2] = filepath.Dir(m[2])
		}
		folders = append(folders, m[2])
	}
	for _, folder := range folders {
		require.NoError(t, os.MkdirAll(filepath.Join(root, folder), 0o777))
		require.NoError(t, os.Chmod(filepath.Join(root, folder), 0o777))
	}
	for path, socket := range b.sockets {
		require.NoError(t, os.MkdirAll(filepath.Dir(root+path), 0o755))
		require.NoError(t, os.Symlink(socket, root+path))
	}
	writeTree(t, root, tree)
	return root, root + file
}

// siteServer is where a site is served.
type siteServer struct {
	plain, tls string
	normal     *strings.Replacer     // leads what it says to the words of its configuration
	change     func(s string) string // what it is sent and answered
}

// ours serves a site here, with its configuration as it stands but for folders.
func (s siteFile) ours(t *testing.T, p *pki, b *siteBackends) siteServer {
	root, file := s.build(t, p, b, func(s string) string { return s })
	var out programs.Output
	site, err := Load(file, Options{
		Root: filepath.Dir(file), Listen: map[string]string{"80": "127.0.0.1:0", "443": "127.0.0.1:0"}, Resolve: b.addrs, Stdout: &out, Stderr: &out,
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		require.NoError(t, site.Shutdown(ctx))
		if t.Failed() {
			t.Logf("ours wrote:\n%s", out.String())
			for _, w := range site.Warnings() {
				t.Log(w)
			}
		}
	})
	require.NoError(t, site.Start())
	addrs := site.addresses()
	return siteServer{addrs["80"], addrs["443"], strings.NewReplacer(root, ""), func(s string) string { return s }}
}

// httpd serves a site with the real httpd, whose backends are put elsewhere. It
// listens at the ports of the configuration, on an address that nobody else has.
func (s siteFile) httpd(t *testing.T, p *pki, b *siteBackends) siteServer {
	programs.NeedRoot(t, "httpd at port 80")
	ip := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250))
	root, file := s.build(t, p, b, func(text string) string {
		return regexp.MustCompile(`(?m)^(\s*Listen )(\d+)`).ReplaceAllString(b.moved(text), "${1}"+ip+":$2")
	})
	args, err := programs.HTTPDArgs(filepath.Dir(file), ip+":80", siteModules, "Include "+file+"\n# Listen \n")
	require.NoError(t, err)
	programs.ServeAt(t, "tcp", ip+":80", exec.Command(programs.Find(t, "apache2", "apache2", "httpd"), args...))
	pairs := []string{root, "", ip, "127.0.0.1"}
	for configured, addr := range b.addrs {
		pairs = append(pairs, addr, configured)
	}
	return siteServer{ip + ":80", ip + ":443", strings.NewReplacer(pairs...), b.moved}
}

// ownPage is one that a server has made itself.
var ownPage = regexp.MustCompile(`^< "(<!DOCTYPE HTML PUBLIC .*<title>\d{3} |\d{3} [A-Z][A-Za-z -]+\\n"$)`)

// cookieExpires is when a cookie expires that begins now.
var cookieExpires = regexp.MustCompile(`expires=[^;]*20[0-9-]+ [0-9:]+ GMT`)

// outcome is what a request comes to, in lines that can be compared.
func (r siteRequest) outcome(t *testing.T, p *pki, b *siteBackends, s siteServer) []string {
	for _, o := range b.recordings {
		answer := r.reply()
		if r.socket {
			answer = r.answer
		}
		o.expect(s.change(answer))
	}
	client := r.ask(t, p, s)
	var lines []string
	names := make([]string, 0, len(b.recordings))
	for name := range b.recordings {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, seen := range b.recordings[name].seen() {
			lines = append(lines, "> to "+name)
			for line := range strings.SplitSeq(seen, "\n") {
				if !strings.HasPrefix(line, "> connection: ") || strings.Contains(line, "pgrade") { // how long it stays open is tested elsewhere
					lines = append(lines, line)
				}
			}
		}
	}
	own := slices.ContainsFunc(client, ownPage.MatchString)
	for _, line := range client {
		switch fieldName(line) {
		case "< date", "< server", "< connection", "< keep-alive", "< content-length", "< transfer-encoding", "< length", "< etag", "< accept-ranges":
			continue
		case "< content-type", "< x-content-type-options":
			if own || len(client) > 0 && strings.HasPrefix(r.line, "HEAD ") && client[0] >= "< 3" {
				continue
			}
		}
		if ownPage.MatchString(line) {
			line = "< a page of the server's own"
		}
		if strings.HasPrefix(line, `< "SCRIPT_`) { // of tellingScript and tellingApp; httpd doubles a slash
			lines = append(lines, strings.Split(strings.ReplaceAll(strings.Trim(line, `"`), "=//", "=/"), `\n`)...)
			continue
		}
		if list, ok := strings.CutPrefix(line, "< vary: "); ok { // in one field or several
			for name := range strings.SplitSeq(list, ",") {
				lines = append(lines, "< vary: "+strings.TrimSpace(name))
			}
			continue
		}
		lines = append(lines, cookieExpires.ReplaceAllString(line, "expires=then"))
	}
	for i := range lines {
		lines[i] = s.normal.Replace(lines[i])
	}
	return ofFiles(lines, client)
}

// ask sends a request, and returns what comes as lines.
func (r siteRequest) ask(t *testing.T, p *pki, s siteServer) []string {
	addr, request := s.plain, s.change(r.request())
	if r.tls {
		addr = s.tls
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, Timeout: 10 * time.Second}
	c, err := d.Dial("tcp", addr)
	require.NoError(t, err)
	if !r.tls {
		return askOver(t, c, request)
	}
	host, _, _ := strings.Cut(r.host, ":")
	config := &tls.Config{ServerName: host, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
	if r.h2 {
		config.NextProtos = []string{"h2"}
	}
	if r.cert {
		pair := p.load("client")
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	secure := tls.Client(c, config)
	if !r.h2 {
		return askOver(t, secure, request)
	}
	defer secure.Close()
	require.NoError(t, secure.SetDeadline(time.Now().Add(30*time.Second)))
	require.NoError(t, secure.Handshake())
	if secure.ConnectionState().NegotiatedProtocol != "h2" {
		return []string{"< no HTTP/2"}
	}
	cc, err := (&http2.Transport{DisableCompression: true}).NewClientConn(secure)
	require.NoError(t, err)
	defer cc.Close()
	req, err := http.NewRequest(http.MethodGet, "https://"+r.host+strings.TrimPrefix(r.line, "GET "), nil)
	require.NoError(t, err)
	for f := range strings.SplitSeq(r.fields, "|") {
		if name, value, ok := strings.Cut(f, ": "); ok {
			req.Header.Set(name, value)
		}
	}
	resp, err := cc.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	fields := headerLines(resp.Header)
	slices.Sort(fields)
	return append(append([]string{fmt.Sprintf("< %d %s", resp.StatusCode, resp.Proto)}, fields...), fmt.Sprintf("< %q", body))
}

// siteNames are the sites below testdata/sites.
func siteNames(t *testing.T) (names []string) {
	files, err := filepath.Glob("testdata/sites/*.requests")
	require.NoError(t, err)
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".requests"))
	}
	require.NotEmpty(t, names)
	return names
}

// TestSites: whole configurations as administrators have them do here what they do
// with the real httpd.
func TestSites(t *testing.T) {
	p := newPKI(t)
	for _, name := range siteNames(t) {
		t.Run(name, func(t *testing.T) {
			s := readSite(t, name)
			b := startBackends(t, s, p.load("a"))
			httpd, ours := s.httpd(t, p, b), s.ours(t, p, b)
			for _, r := range s.requests {
				t.Run(r.name, func(t *testing.T) {
					theirs, mine := r.outcome(t, p, b, httpd), r.outcome(t, p, b, ours)
					onlyHttpd, onlyOurs := difference(theirs, mine)
					if !slices.Equal(onlyHttpd, r.differs.httpd) || !slices.Equal(onlyOurs, r.differs.ours) {
						t.Errorf("%s\nhttpd:\n%s\nours:\n%s\nonly httpd:\n%s\nonly ours:\n%s", r.request(), strings.Join(theirs, "\n"), strings.Join(mine, "\n"), strings.Join(onlyHttpd, "\n"), strings.Join(onlyOurs, "\n"))
					}
				})
			}
		})
	}
}

// TestSiteOutcomes is for machines without httpd.
func TestSiteOutcomes(t *testing.T) {
	p := newPKI(t)
	for _, name := range siteNames(t) {
		t.Run(name, func(t *testing.T) {
			s := readSite(t, name)
			b := startBackends(t, s, p.load("a"))
			ours := s.ours(t, p, b)
			var all strings.Builder
			for _, r := range s.requests {
				all.WriteString("# " + r.name + "\n")
				for _, line := range r.outcome(t, p, b, ours) {
					if len(line) > 400 { // a page of Tomcat's, which the next one writes in other words
						line = "< a long page"
					}
					all.WriteString(line + "\n")
				}
			}
			golden := "testdata/sites/" + name + ".golden"
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(all.String()), 0o644))
				return
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), all.String(), "if the change is meant: go test ./examples/httpd/apache -run %s -update", t.Name())
		})
	}
}
