package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/modproxy/modproxy/ftpproxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// ftpReplies are those of a server that behaves.
var ftpReplies = map[string]string{
	"USER": "331 who", "PASS": "230 in", "FEAT": "211-Features\r\n SIZE\r\n MDTM\r\n REST STREAM\r\n UTF8\r\n211 End", "OPTS": "200 on", "TYPE": "200 type",
	"SIZE": "213 100", "MDTM": "213 20200101000000", "PWD": `257 "/"`, "CWD": "250 there", "EPSV": "229 (|||2000|)", "RETR": "150 here", "LIST": "150 here", "STOR": "150 send",
}

// ftpAt is a server that behaves up to a command; "" is the greeting, "data" the
// data connection. Commands beside that are answered by others.
func ftpAt(verb string, does script, others ...string) script {
	return func(p *peer) {
		switch {
		case p.n > 1 && verb == "data":
			does(p)
		case p.n > 1:
			silent(p)
		case verb == "":
			does(p)
		default:
			ftpControl(p, verb, does, others)
		}
	}
}

func ftpControl(p *peer, verb string, does script, others []string) {
	if _, err := io.WriteString(p, "220 hello\r\n"); err != nil {
		return
	}
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			return
		}
		command, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if command == verb {
			does(p)
			return
		}
		reply, known := ftpReplies[command]
		if !known {
			reply = "500 what"
		}
		for _, o := range others {
			if text, ok := strings.CutPrefix(o, command+": "); ok {
				reply = text
			}
		}
		if _, err := fmt.Fprintf(p, "%s\r\n", reply); err != nil {
			return
		}
	}
}

const (
	listed  = "-rw-r--r-- 1 u g 5 Jan 1 2020 name\r\n"
	noEntry = "what is this\r\n"
)

var ftpServer = spoken{
	url:       "ftp://b.test",
	transport: func(b *backend.Backend) http.RoundTripper { return &ftpproxy.Transport{Backend: b, AllowPut: true} },
	rows: ftpRows(map[string]misbehaviour{
		"dial hangs":                       {hangs: true, status: 503},
		"reads nothing":                    {does: deaf, status: 504},
		"a small file does not come":       {does: ftpAt("data", silent), status: 504},
		"a small file drips":               {does: ftpAt("data", dripsBytes("a")), status: 504},
		"a large file does not come":       {does: ftpAt("data", silent, "SIZE: 213 100000")},
		"a large file stops":               {does: ftpAt("data", says("abc"), "SIZE: 213 100000")},
		"a listing does not come":          {does: ftpAt("data", silent), path: "/dir/", status: 504},
		"a listing of nothing drips":       {does: ftpAt("data", drips(noEntry)), path: "/dir/", status: 504},
		"a listing of nothing drips bytes": {does: ftpAt("data", dripsBytes(noEntry)), path: "/dir/", status: 504},
		"an endless listing of nothing":    {does: ftpAt("data", floods(noEntry)), path: "/dir/", status: 504},
		"an endless line":                  {does: ftpAt("data", floods(strings.Repeat("a", 4000))), path: "/dir/", status: 502},
		"a listing that begins":            {does: ftpAt("data", after(listed, drips(noEntry))), path: "/dir/", waits: 2},
		"an endless one that begins":       {does: ftpAt("data", after(listed, floods(noEntry))), path: "/dir/", waits: 2},
		"an upload is not taken":           {does: ftpAt("data", deaf, "SIZE: 550 no"), upload: true, status: 504},
		"no word after a file": {does: ftpAt("data", func(p *peer) {
			_, _ = io.WriteString(p, strings.Repeat("a", 100))
			_ = p.Close()
			time.Sleep(time.Second)
		}), status: 200},
	}),
}

// ftpRows adds what a server can do at each step of the dialogue.
func ftpRows(rows map[string]misbehaviour) map[string]misbehaviour {
	for _, verb := range []string{"", "USER", "PASS", "FEAT", "TYPE", "SIZE", "MDTM", "EPSV", "RETR"} {
		at := verb
		if verb == "" {
			at = "the greeting"
		}
		rows["nothing at "+at] = misbehaviour{does: ftpAt(verb, silent), status: 504}
		rows["drips at "+at] = misbehaviour{does: ftpAt(verb, dripsBytes("220-hello\r\n")), status: 504}
		rows["drips lines at "+at] = misbehaviour{does: ftpAt(verb, drips("220-hello\r\n")), status: 504}
		rows["endless lines at "+at] = misbehaviour{does: ftpAt(verb, floods("220-hello\r\n")), status: 504}
		rows["endless long lines at "+at] = misbehaviour{does: ftpAt(verb, floods("220-"+strings.Repeat("a", 1000)+"\r\n")), status: 502}
	}
	return rows
}

func overFTP(b *backend.Backend) http.RoundTripper { return &ftpproxy.Transport{Backend: b} }

var handshakeFTPS = spoken{url: "ftps://b.test", transport: overFTP, rows: map[string]misbehaviour{
	"nothing":               unshaken["nothing"],
	"reads nothing":         unshaken["reads nothing"],
	"drips a record":        unshaken["drips a record"],
	"endless empty records": unshaken["endless empty records"],
}}

var handshakeFTPES = spoken{url: "ftpes://b.test", transport: overFTP, rows: map[string]misbehaviour{
	"nothing at the greeting":   {does: silent, status: 504},
	"drips lines at it":         {does: drips("220-hello\r\n"), status: 504},
	"nothing at AUTH":           {does: ftpAt("AUTH", silent), status: 504},
	"drips lines at AUTH":       {does: ftpAt("AUTH", drips("234-yes\r\n")), status: 504},
	"no handshake":              {does: ftpAt("AUTH", says("234 yes\r\n")), status: 503},
	"drips a handshake":         {does: ftpAt("AUTH", after("234 yes\r\n", dripsBytes("\x16\x03\x03\x40\x00"))), status: 503},
	"reads nothing of that one": {does: ftpAt("AUTH", after("234 yes\r\n", deaf)), status: 503},
}}
