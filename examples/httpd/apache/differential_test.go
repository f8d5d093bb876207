package apache

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// httpdVersion is what differs from one installation to the next.
var httpdVersion = regexp.MustCompile(`\(Apache/[^)]*\)`)

// row is one request to both servers, and the origin's answer to it.
type row struct {
	name   string
	host   string // ServerName of the virtual host; "-" for no Host field
	line   string // "/path", or a method and a target, or the whole line
	fields string // more fields, separated by "|"
	body   string
	answer string // status and fields, separated by "|"; raw if it begins with "HTT"; "none"
	disk   bool   // the servers answer with a file, and all fields count
}

// request is what is sent.
func (r row) request() string {
	line := r.line
	if strings.HasPrefix(line, "/") {
		line = "GET " + line
	}
	if !strings.Contains(line, " HTTP/") {
		line += " HTTP/1.1"
	}
	var b strings.Builder
	b.WriteString(line + "\r\n")
	if r.host != "-" {
		b.WriteString("Host: " + r.host + "\r\n")
	}
	for f := range strings.SplitSeq(r.fields, "|") {
		if f != "" {
			b.WriteString(f + "\r\n")
		}
	}
	if r.body != "" && !strings.Contains(r.fields, "chunked") {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.body))
	}
	b.WriteString("\r\n" + r.body)
	return b.String()
}

// reply is what the origin says.
func (r row) reply() string {
	if strings.HasPrefix(r.answer, "HTT") {
		return r.answer
	}
	if r.answer == "none" {
		return ""
	}
	answer := r.answer
	if answer == "" {
		answer = "200 OK"
	}
	answer = "HTTP/1.1 " + strings.ReplaceAll(answer, "|", "\r\n") + "\r\n"
	if strings.Contains(answer, " 304") || strings.Contains(answer, " 204") {
		return answer + "\r\n"
	}
	answer += "Content-Length: 4\r\n\r\n"
	if strings.HasPrefix(r.line, "HEAD ") {
		return answer
	}
	return answer + "body"
}

// outcome is that of a row at one server, in lines that can be compared.
func outcome(t *testing.T, o *recording, addr string, r row) []string {
	o.expect(strings.ReplaceAll(r.reply(), "ORIGIN", o.addr()))
	client := ask(t, addr, strings.ReplaceAll(r.request(), "ORIGIN", o.addr()))
	var lines []string
	for _, seen := range o.seen() {
		for line := range strings.SplitSeq(seen, "\n") {
			if r.disk && line == "> connection: close" {
				continue // httpd keeps none for handlers
			}
			if line != "> connection: Keep-Alive" && line != "> connection: keep-alive" { // HTTP/1.1 keeps alive without it
				lines = append(lines, line)
			}
		}
	}
	// Of pages that the servers make themselves the status counts, and what
	// the configuration says.
	own := len(lines) == 0 && !r.disk
	for _, line := range client {
		own = own || strings.Contains(line, "<!DOCTYPE") || line == "< x-content-type-options: nosniff"
	}
	for i, line := range client {
		name := fieldName(line)
		switch name {
		case "< date", "< server", "< connection", "< keep-alive", "< content-length", "< transfer-encoding", "< x-content-type-options":
			continue
		case "< length":
			if own || strings.HasPrefix(client[0], "< 4") {
				continue // of a page that HEAD does not show
			}
		}
		if own && i > 0 && !strings.HasPrefix(line, "< x-") && name != "< location" && name != "< set-cookie" && name != "< vary" && name != "< strict-transport-security" && name != "< www-authenticate" && line != `< "keep out"` {
			continue
		}
		if name == "< vary" {
			fields := strings.Split(strings.ReplaceAll(strings.TrimPrefix(line, "< vary: "), ", ", ","), ",")
			slices.Sort(fields) // their order means nothing
			line = "< vary: " + strings.Join(fields, ",")
		}
		lines = append(lines, line)
	}
	if r.disk {
		lines = ofFiles(lines, client)
	}
	for i := range lines {
		lines[i] = httpdVersion.ReplaceAllString(strings.ReplaceAll(lines[i], o.addr(), "ORIGIN"), "(Apache)")
	}
	return lines
}

// difference returns the lines that only one of two outcomes has.
func difference(httpd, ours []string) (onlyHttpd, onlyOurs []string) {
	for _, l := range httpd {
		if !slices.Contains(ours, l) {
			onlyHttpd = append(onlyHttpd, l)
		}
	}
	for _, l := range ours {
		if !slices.Contains(httpd, l) {
			onlyOurs = append(onlyOurs, l)
		}
	}
	if len(onlyHttpd)+len(onlyOurs) == 0 && len(httpd) != len(ours) {
		return httpd, ours
	}
	return onlyHttpd, onlyOurs
}

// comparison is a configuration that both servers run, and the requests that both
// are sent. In it ${PORT} is where each listens, ${ORIGIN} the address of the
// recording origin, and ${DATA} the folder testdata.
type comparison struct {
	file    string // below testdata
	modules string // of httpd
	rows    []row
	meant   map[string]meantDifference
	defines func(t *testing.T, origin string) map[string]string // more for ${NAME}; may be nil
}

// defined returns the names for ${NAME} with their values.
func (c comparison) defined(t *testing.T, o *recording) map[string]string {
	all := map[string]string{"ORIGIN": o.addr(), "DATA": data(t)}
	if c.defines != nil {
		maps.Copy(all, c.defines(t, o.addr()))
	}
	return all
}

var differential = comparison{"differential.conf", "authz_host env setenvif headers remoteip proxy proxy_http", differentialRows, meant, nil}

func data(t *testing.T) string {
	folder, err := filepath.Abs("testdata")
	require.NoError(t, err)
	return folder
}

// ours starts this server.
func (c comparison) ours(t *testing.T, defines map[string]string) (addr string) {
	args := []string{"-D", "PORT=80", "-listen", "80=127.0.0.1:0"}
	for name, value := range defines {
		args = append(args, "-D", name+"="+value)
	}
	return startFile(t, "testdata/"+c.file, args...).addr()
}

// beside sends the requests to the real httpd and here, and compares what the
// origin and the client get. A difference must stand in the table of those that are
// meant, as it is.
func (c comparison) beside(t *testing.T) {
	config, err := os.ReadFile("testdata/" + c.file)
	require.NoError(t, err)
	o := newRecording(t)
	defines, text := c.defined(t, o), ""
	for name, value := range defines {
		text += "Define " + name + " " + value + "\n"
	}
	httpd := programs.HTTPD(t, c.modules, text+string(config))
	ours := c.ours(t, defines)
	names := make(map[string]bool)
	for _, r := range c.rows {
		t.Run(r.name, func(t *testing.T) {
			require.False(t, names[r.name], "two rows have this name")
			names[r.name] = true
			theirs := outcome(t, o, httpd.Addr, r)
			mine := outcome(t, o, ours, r)
			onlyHttpd, onlyOurs := difference(theirs, mine)
			d := c.meant[r.name]
			require.Equal(t, [2]string{strings.Join(d.httpd, "\n"), strings.Join(d.ours, "\n")},
				[2]string{strings.Join(onlyHttpd, "\n"), strings.Join(onlyOurs, "\n")},
				"%s\nhttpd:\n%s\nours:\n%s", r.request(), strings.Join(theirs, "\n"), strings.Join(mine, "\n"))
		})
	}
	for name, d := range c.meant {
		require.True(t, names[name], "no row is called %q", name)
		require.NotEmpty(t, d.why, name)
	}
}

// alone sends the requests here alone, so that they are tested where httpd is not
// installed. The golden file has what was found to be httpd's, but for the meant
// differences.
func (c comparison) alone(t *testing.T, golden string) {
	o := newRecording(t)
	defines := c.defined(t, o)
	ours := c.ours(t, defines)
	var all strings.Builder
	for _, r := range c.rows {
		all.WriteString("# " + r.name + "\n")
		for _, line := range outcome(t, o, ours, r) {
			for name, value := range defines { // folders differ from run to run
				if strings.HasPrefix(value, "/") || strings.HasSuffix(name, "PORT") {
					line = strings.ReplaceAll(line, value, "${"+name+"}")
				}
			}
			line = strings.ReplaceAll(line, strings.Repeat("x", 100), "(x100)")
			if len(line) > 4<<10 {
				line = fmt.Sprintf("%s… %d bytes, %x", line[:100], len(line), sha256.Sum256([]byte(line)))
			}
			all.WriteString(line + "\n")
		}
	}
	golden = "testdata/" + golden
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(all.String()), 0o644))
		return
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), all.String(), "if the change is meant: go test ./examples/httpd/apache -run %s -update", t.Name())
}

func TestDifferential(t *testing.T) { differential.beside(t) }

func TestOutcomes(t *testing.T) { differential.alone(t, "outcomes.golden") }
