package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/ftpproxy"
)

// ftpFamily is a reverse proxy to the files of vsftpd. Ours keeps its control
// connection; Apache logs in for each request.
var ftpFamily = &family{
	origin: peer{name: "vsftpd", programs: []string{"vsftpd"}, debian: "vsftpd", command: vsftpdCommand},
	peers: []peer{
		{name: "modproxy", command: func(j job) ([]string, error) { return j.serve("ftp", "ftp://"+j.origin+"/") }},
		// The same without kept connections: what a request costs that logs in.
		{name: "modproxy-login", command: func(j job) ([]string, error) { return j.serve("ftp-login", "ftp://"+j.origin+"/") }},
		{name: "apache", programs: apachePeer.programs, debian: apachePeer.debian, command: func(j job) ([]string, error) {
			return apacheCommand(j, "proxy proxy_ftp", fmt.Sprintf("ProxyPass / ftp://%s/\n", j.origin))
		}},
	},
}

// One client gets one file after the other, so that requests per second tell
// how long it waits.
var ftpWorkloads = []workload{
	{name: "ftp1k", about: "GET of 1 KB from an FTP server", family: ftpFamily, method: http.MethodGet, path: "/1024.bin", want: 1 << 10, connections: 1},
	{name: "ftp100m", about: "GET of 100 MB from an FTP server", family: ftpFamily, method: http.MethodGet, path: "/104857600.bin", want: 100 << 20, connections: 1},
}

// vsftpdCommand is for the origin, with files of its own.
func vsftpdCommand(j job) ([]string, error) {
	root := filepath.Join(j.dir, "files")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	for _, n := range []int64{1 << 10, 100 << 20} {
		name, err := writeConfig(root, fmt.Sprintf("%d.bin", n), "")
		if err == nil {
			err = os.Truncate(name, n)
		}
		if err != nil {
			return nil, err
		}
	}
	return programs.VsftpdArgs(j.dir, j.listen, programs.FTPOptions{Root: root})
}

// newFTP is the reverse proxy, with kept connections or without.
func newFTP(to string, keep bool) (http.Handler, error) {
	h, err := ftpproxy.NewHandler("/", to)
	if err != nil {
		return nil, err
	}
	h.Transport.(*ftpproxy.Transport).Backend.DisableReuse = !keep
	return h, nil
}
