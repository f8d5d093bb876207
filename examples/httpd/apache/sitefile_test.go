package apache

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// siteFile is a site as testdata/sites has it: NAME.conf, as an administrator has
// it, and NAME.requests with the files around it and what clients ask for.
//
// The latter has parts, each behind a line "-- WHAT --": files by their absolute
// paths ("→" makes a link, "@tell" a script of PHP that tells what it is told), and "requests". A request is a block of lines:
//
//	# its name
//	GET https://wiki.example.org/path     also WS for a handshake, H2 for HTTP/2
//	Cookie: a=b                           fields
//	<< the body
//	>> 302 Found|Location: /x             what the backend answers; see row.answer
//	!httpd < 206                          a line that only httpd gives
//	!ours < 200                           a line that only this server gives
//	!why the reason, if there are such lines
type siteFile struct {
	name, conf string
	files      map[string]string
	requests   []siteRequest
}

type siteRequest struct {
	row
	tls, h2, socket bool
	cert            bool // the client shows its certificate
	differs         meantDifference
}

func readSite(t *testing.T, name string) siteFile {
	conf, err := os.ReadFile("testdata/sites/" + name + ".conf")
	require.NoError(t, err)
	text, err := os.ReadFile("testdata/sites/" + name + ".requests")
	require.NoError(t, err)
	s := siteFile{name: name, conf: string(conf), files: make(map[string]string)}
	names := make(map[string]bool)
	for _, part := range regexp.MustCompile(`(?m)^-- `).Split(string(text), -1)[1:] {
		what, text, ok := strings.Cut(part, " --\n")
		require.True(t, ok, part)
		if what != "requests" {
			if s.files[what] = text; strings.HasPrefix(text, "→") {
				s.files[what] = strings.TrimSpace(text)
			}
			continue
		}
		for block := range strings.SplitSeq(text, "\n\n") {
			if block = strings.TrimSpace(block); block != "" {
				r, err := readRequest(strings.Split(block, "\n"))
				require.NoError(t, err, block)
				require.False(t, names[r.name], "two requests are called %q", r.name)
				names[r.name] = true
				s.requests = append(s.requests, r)
			}
		}
	}
	return s
}

var requestLine = regexp.MustCompile(`^([A-Z0-9]+) (https?)://([^/]*)(/\S*)$`)

func readRequest(lines []string) (r siteRequest, err error) {
	name, ok := strings.CutPrefix(lines[0], "# ")
	if !ok || len(lines) < 2 {
		return r, fmt.Errorf("want a name and a line")
	}
	m := requestLine.FindStringSubmatch(lines[1])
	if m == nil {
		return r, fmt.Errorf("no request: %s", lines[1])
	}
	r.name, r.tls, r.host = name, m[2] == "https", m[3]
	var fields []string
	switch method := m[1]; method {
	case "WS":
		r.socket, r.line, r.answer = true, "GET "+m[4], switches+"\r\n"
		fields = strings.Split(asks, "|")
	case "H2":
		r.h2, r.line = true, "GET "+m[4]
	default:
		r.line = method + " " + m[4]
	}
	for _, line := range lines[2:] {
		mark, text, _ := strings.Cut(line, " ")
		switch mark {
		case "<<":
			r.body = text
		case ">>":
			r.answer = text
		case "!httpd":
			r.differs.httpd = append(r.differs.httpd, text)
		case "!ours":
			r.differs.ours = append(r.differs.ours, text)
		case "!why":
			r.differs.why = text
		case "!cert":
			r.cert = true
		default:
			fields = append(fields, line)
		}
	}
	r.fields = strings.Join(fields, "|")
	if differs := len(r.differs.httpd)+len(r.differs.ours) > 0; differs != (r.differs.why != "") {
		return r, fmt.Errorf("a difference wants a reason")
	}
	return r, nil
}
