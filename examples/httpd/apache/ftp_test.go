package apache

import (
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/internal/ftpd"
	"github.com/modproxy/modproxy/examples/programs"
)

// ftpFiles are what the servers of these tests have.
var ftpFiles = map[string]string{
	"hello.txt":         "hello, world\n",
	"empty.txt":         "",
	"a b & <c>.txt":     "odd\n",
	"p%20c.txt":         "percent\n",
	"a[1].txt":          "brackets\n",
	"ünï.txt":           "unicode\n",
	"lines.txt":         "one\ntwo\n",
	"page.html":         "<p>page</p>\n",
	"sub/inner.txt":     "inner\n",
	"sp ace/in it.txt":  "blank\n",
	"dir ü/in side.txt": "deep\n",
}

// TestFTPConfiguration runs conf/ftp.conf as it stands.
func TestFTPConfiguration(t *testing.T) {
	addr := ftpd.Serve(t, ftpd.Plant(t, ftpFiles), false)
	config, err := os.ReadFile("../conf/ftp.conf")
	require.NoError(t, err)
	p := start(t, string(config), echo, "-resolve", "ftp.example.com:21="+addr)
	resp, text := p.get("80", "files.example.com/ftp/hello.txt")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "hello, world\n", text)
	require.Equal(t, "13", resp.Header.Get("Content-Length"))
	resp, text = p.get("80", "files.example.com/ftp/dir%20%C3%BC/")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "text/html; charset=UTF-8", resp.Header.Get("Content-Type"))
	require.Contains(t, text, `<a href="./in%20side.txt">in side.txt</a>`)
	resp, _ = p.get("80", "files.example.com/ftp/sub")
	require.Equal(t, 301, resp.StatusCode)
	require.Equal(t, "./sub/", resp.Header.Get("Location"))
	resp, text = p.get("80", "files.example.com/ftp/*.html")
	require.Equal(t, 200, resp.StatusCode)
	require.Contains(t, text, "page.html")
	require.NotContains(t, text, "hello.txt")
	resp, text = p.get("80", "files.example.com/ftp/a%5B1%5D.txt")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "brackets\n", text)
}

// TestFTPDirectives: each of them, and who logs in.
func TestFTPDirectives(t *testing.T) {
	root := ftpd.Plant(t, ftpFiles)
	open, closed := ftpd.Serve(t, root, false), ftpd.Serve(t, root, true)
	user := url.UserPassword(ftpd.User, ftpd.Password).String()
	p := start(t, `
ProxyFtpDirCharset ISO-8859-1
ProxyPass /open/ ftp://open.test/
ProxyPass /asked/ ftp://closed.test/
ProxyPass /known/ ftp://`+user+`@closed.test/ max=2 timeout=30
ProxyPass /wrong/ ftp://ftp:wrong@closed.test/
<Location /open/sub/>
    ProxyFtpDirCharset UTF-8
    ProxyFtpListOnWildcard Off
    ProxyFtpEscapeWildcards Off
</Location>
<Proxy balancer://files>
    BalancerMember ftp://open.test
</Proxy>
ProxyPass /lb/ balancer://files/
`, echo, "-resolve", "open.test:21="+open, "-resolve", "closed.test:21="+closed)
	resp, _ := p.get("80", "front.test/open/")
	require.Equal(t, "text/html; charset=ISO-8859-1", resp.Header.Get("Content-Type"))
	resp, _ = p.get("80", "front.test/open/sub/")
	require.Equal(t, "text/html; charset=UTF-8", resp.Header.Get("Content-Type"))
	resp, _ = p.get("80", "front.test/open/i*")
	require.Equal(t, 200, resp.StatusCode)
	resp, _ = p.get("80", "front.test/open/sub/i*")
	require.Equal(t, 404, resp.StatusCode)
	resp, _ = p.get("80", "front.test/asked/hello.txt")
	require.Equal(t, 401, resp.StatusCode)
	require.Equal(t, `Basic realm="closed.test", charset="UTF-8"`, resp.Header.Get("Www-Authenticate"))
	resp, text := p.get("80", "front.test/known/hello.txt")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "hello, world\n", text)
	resp, _ = p.get("80", "front.test/wrong/hello.txt")
	require.Equal(t, 403, resp.StatusCode)
	resp, text = p.get("80", "front.test/lb/sub/inner.txt")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "inner\n", text)
	require.NotContains(t, p.stderr.String(), "s3cret")
}

func TestFTPConfigurationErrors(t *testing.T) {
	for config, want := range map[string]string{
		"ProxyFtpDirCharset a;b":                                            "x.conf:2: ProxyFtpDirCharset",
		"ProxyFtpListOnWildcard maybe":                                      "x.conf:2: ProxyFtpListOnWildcard is On or Off",
		"ProxyFtpEscapeWildcards":                                           "x.conf:2: ProxyFtpEscapeWildcards takes 1 argument",
		"ProxyPass / ftp://a:s3cret%zz@ftp/":                                "x.conf:2: ProxyPass: user and password of a target must be escaped",
		"ProxyPass / ftp://a:s3cret@/x/":                                    `x.conf:2: ProxyPass: "ftp://xxxxx@/x/" names no host`,
		"<Proxy balancer://b>\nBalancerMember ftp://a:s3cret@ftp\n</Proxy>": "x.conf:3: BalancerMember: a member is known by its URL: it may hold no password",
	} {
		_, _, err := read("Listen 80\n" + config)
		require.ErrorContains(t, err, want, config)
		require.NotContains(t, err.Error(), "s3cret", config)
	}
}

// vsftpd is the real server in place of [ftpd.Serve].
func vsftpd(t testing.TB, root string, login bool) string {
	t.Helper()
	o := programs.FTPOptions{Root: root}
	if login {
		o.User, o.Password = ftpd.User, ftpd.Password
	}
	return programs.Vsftpd(t, o).Addr
}

// ftpRow is a request to the real httpd and to us, both before one vsftpd.
type ftpRow struct {
	name, line, fields string
	meant              string // why ours differs; empty: it does not
	httpd, ours        []string
	sometimes          bool // httpd answers as ours does, if its server closes the data in time
}

// ftpRows are those of the sheet. What is compared: the status, the fields that
// tell of the file, and the body of a file, or the links of a listing.
var ftpRows = []ftpRow{
	{name: "file", line: "/ftp/hello.txt"},
	{name: "empty file", line: "/ftp/empty.txt"},
	{name: "odd name", line: "/ftp/a%20b%20&%20%3Cc%3E.txt"},
	{name: "percent in a name", line: "/ftp/p%2520c.txt"},
	{name: "below a directory", line: "/ftp/sub/inner.txt"},
	{name: "query", line: "/ftp/hello.txt?x=y"},
	{name: "type x", line: "/ftp/hello.txt;type=x"},
	{name: "missing file", line: "/ftp/nothing"},
	{name: "missing directory", line: "/ftp/nothing/"},
	{name: "file as directory", line: "/ftp/hello.txt/"},
	{name: "encoded slash", line: "/ftp/sub%2Finner.txt"},
	{name: "root", line: "/ftp/%2Fhello.txt"},
	{name: "newline", line: "/ftp/a%0d%0aDELE%20hello.txt"},
	{name: "listing", line: "/ftp/sub/"},
	{name: "listing as type", line: "/ftp/sub;type=d"},
	{name: "wildcard", line: "/ftp/*.html"},
	{name: "wildcard off", line: "/off/a%5B1%5D.txt"},
	{name: "anonymous refused", line: "/auth/hello.txt"},
	{name: "login", line: "/auth/hello.txt", fields: "GOOD"},
	{name: "wrong login", line: "/auth/hello.txt", fields: "BAD"},
	{name: "server down", line: "/down/hello.txt"},

	{name: "HEAD", line: "HEAD /ftp/hello.txt", meant: "HEAD is GET without the body", sometimes: true,
		httpd: []string{"500"}, ours: []string{"200", "content-length: 13", "content-type: text/plain", "last-modified: Sat, 02 Mar 2024 03:04:05 GMT"}},
	{name: "range", line: "/ftp/hello.txt", fields: "Range: bytes=0-4", meant: "ranges are served",
		httpd: []string{"200", "content-length: 13", `"hello, world\n"`}, ours: []string{"206", "content-length: 5", "content-range: bytes 0-4/13", `"hello"`}},
	{name: "condition", line: "/ftp/hello.txt", fields: "If-Modified-Since: Sat, 02 Mar 2024 03:04:05 GMT", meant: "conditions are heeded",
		httpd: []string{"200", "content-length: 13", "content-type: text/plain", `"hello, world\n"`}, ours: []string{"304"}},
	{name: "UTF-8", line: "/ftp/%C3%BCn%C3%AF.txt", meant: "names may be in UTF-8",
		httpd: []string{"400"}, ours: []string{"200", "content-length: 8", "content-type: text/plain", "last-modified: Sat, 02 Mar 2024 03:04:05 GMT", `"unicode\n"`}},
	{name: "NUL", line: "/ftp/a%00b", meant: "an escaped NUL is malformed, not missing",
		httpd: []string{"404"}, ours: []string{"400"}},
	{name: "type i", line: "/ftp/hello.txt;type=i", meant: "the type of a file does not depend on that of the transfer",
		ours: []string{"content-type: text/plain"}},
	{name: "type a", line: "/ftp/lines.txt;type=a", meant: "a text has a type",
		ours: []string{"content-type: text/plain"}},
	{name: "brackets", line: "/ftp/a%5B1%5D.txt", meant: "a name that exists is served, and no pattern",
		httpd: []string{"content-type: text/html", "links: a%5b1%5d.txt"}, ours: []string{"content-length: 9", "content-type: text/plain", "last-modified: Sat, 02 Mar 2024 03:04:05 GMT", `"brackets\n"`}},
	{name: "listing without a slash", line: "/ftp/sub", meant: "links are relative to the path with the slash",
		httpd: []string{"200", "content-type: text/html", "links: inner.txt"}, ours: []string{"301", "location: ./sub/"}},
	{name: "listing with blanks", line: "/ftp/sp%20ace/", meant: "names with blanks are not cut",
		httpd: []string{"links: it.txt"}, ours: []string{"links: in%20it.txt"}},
	{name: "POST", line: "POST /ftp/hello.txt", meant: "the method is known, and not allowed",
		httpd: []string{"501", "allow: TRACE"}, ours: []string{"405", "allow: GET, HEAD"}},
	{name: "PUT", line: "PUT /ftp/new.txt", meant: "the method is known, and not allowed",
		httpd: []string{"501", "allow: TRACE"}, ours: []string{"405", "allow: GET, HEAD"}},
	{name: "login in the target", line: "/user/hello.txt", meant: "user and password of the target are decoded",
		httpd: []string{"401", "www-authenticate"}, ours: []string{"200", "content-length: 13", "content-type: text/plain", "last-modified: Sat, 02 Mar 2024 03:04:05 GMT", `"hello, world\n"`}},
	{name: "wrong login in the target", line: "/wrong/hello.txt", meant: "no client can mend it: it is not asked for a password",
		httpd: []string{"401", "www-authenticate"}, ours: []string{"403"}},
}

const ftpDifferential = `
Listen 127.0.0.1:${PORT}
ServerName front.test
<VirtualHost *:${PORT}>
ProxyPass /ftp/ ftp://${OPEN}/
ProxyPass /off/ ftp://${OPEN}/
ProxyPass /auth/ ftp://${CLOSED}/
ProxyPass /user/ ftp://${USER}@${CLOSED}/
ProxyPass /wrong/ ftp://ftp:wrong@${CLOSED}/
ProxyPass /down/ ftp://127.0.0.1:1/
<Location /off/>
    ProxyFtpListOnWildcard Off
    ProxyFtpEscapeWildcards Off
</Location>
</VirtualHost>
`

// TestFTPDifferential is TestDifferential for mod_proxy_ftp.
func TestFTPDifferential(t *testing.T) {
	root := ftpd.Plant(t, ftpFiles)
	defines := map[string]string{"OPEN": vsftpd(t, root, false), "CLOSED": vsftpd(t, root, true), "USER": url.UserPassword(ftpd.User, ftpd.Password).String()}
	file := t.TempDir() + "/x.conf"
	require.NoError(t, os.WriteFile(file, []byte(ftpDifferential), 0o644))
	args := []string{"-D", "PORT=80", "-listen", "80=127.0.0.1:0"}
	load := "TypesConfig /etc/mime.types\n"
	for name, value := range defines {
		args = append(args, "-D", name+"="+value)
		load += "Define " + name + " " + value + "\n"
	}
	httpd := programs.HTTPD(t, "mime proxy proxy_ftp", load+ftpDifferential)
	ours := startFile(t, file, args...).addr()
	for _, r := range ftpRows {
		t.Run(r.name, func(t *testing.T) {
			theirs, mine := ftpOutcome(t, httpd.Addr, r), ftpOutcome(t, ours, r)
			onlyHttpd, onlyOurs := difference(theirs, mine)
			require.Equal(t, len(r.httpd)+len(r.ours) > 0, r.meant != "")
			if r.sometimes && slices.Equal(theirs, mine) {
				require.Equal(t, r.ours, mine)
				return
			}
			require.Equal(t, [2]string{strings.Join(r.httpd, "\n"), strings.Join(r.ours, "\n")},
				[2]string{strings.Join(onlyHttpd, "\n"), strings.Join(onlyOurs, "\n")},
				"httpd:\n%s\nours:\n%s", strings.Join(theirs, "\n"), strings.Join(mine, "\n"))
		})
	}
}

var linkPattern = regexp.MustCompile(`<a href="([^"]*)"`)

// ftpOutcome is the answer of one server, in lines that can be compared.
func ftpOutcome(t *testing.T, addr string, r ftpRow) []string {
	line := r.line
	if strings.HasPrefix(line, "/") {
		line = "GET " + line
	}
	text := line + " HTTP/1.1\r\nHost: front.test\r\n"
	switch r.fields {
	case "":
	case "GOOD":
		text += "Authorization: " + basicAuth(ftpd.User, ftpd.Password) + "\r\n"
	case "BAD":
		text += "Authorization: " + basicAuth(ftpd.User, "wrong") + "\r\n"
	default:
		text += r.fields + "\r\n"
	}
	if strings.HasPrefix(line, "P") {
		text += "Content-Length: 0\r\n"
	}
	var lines []string
	listing := false
	for _, l := range ask(t, addr, text+"\r\n") {
		l = strings.TrimPrefix(l, "< ")
		name, value, _ := strings.Cut(l, ": ")
		status := len(l) >= 3 && len(lines) == 0
		switch {
		case status:
			lines = append(lines, l[:3])
		case lines[0] >= "400":
			if name == "allow" {
				lines = append(lines, l)
			} else if name == "www-authenticate" {
				lines = append(lines, name) // httpd says no realm
			}
		case name == "content-type":
			value, _, _ = strings.Cut(value, ";")
			listing = value == "text/html"
			if lines[0] < "300" {
				lines = append(lines, "content-type: "+value)
			}
		case slices.Contains([]string{"content-length", "last-modified", "content-range", "location"}, name) && lines[0] != "301" || name == "location":
			lines = append(lines, l)
		case strings.HasPrefix(l, `"`) && lines[0] < "300":
			lines = append(lines, l)
		}
	}
	if i := len(lines) - 1; listing && strings.HasPrefix(lines[i], `"`) {
		page, err := strconv.Unquote(lines[i])
		require.NoError(t, err)
		lines = append(lines[:i], "links:"+strings.Join(entriesOf(page), ""))
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "content-length") })
	}
	return lines
}

// entriesOf returns the links of a listing to what is in the directory.
func entriesOf(page string) (list []string) {
	for _, m := range linkPattern.FindAllStringSubmatch(page, -1) {
		to := m[1][strings.LastIndexByte(m[1], '/')+1:]
		if to != "" && to != "." && to != ".." && m[1] != "../" {
			list = append(list, " "+to)
		}
	}
	slices.Sort(list)
	return list
}

func basicAuth(user, password string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}
