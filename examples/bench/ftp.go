package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/modproxy/modproxy/ftpproxy"
)

// ftpFamily is a reverse proxy to the files of vsftpd. Ours keeps its control
// connection; Apache logs in for each request.
var ftpFamily = &family{
	origin: func(listen string) []string { return []string{"serve", "vsftpd", "-listen", listen} },
	peers: []peer{
		{name: "modproxy", command: func(j job) ([]string, error) {
			args := []string{"serve", "ftp", "-listen", j.listen, "-to", "ftp://" + j.origin + "/"}
			if j.cpuProfile != "" {
				args = append(args, "-cpuprofile", j.cpuProfile)
			}
			return args, nil
		}},
		// The same without kept connections: what a request costs that logs in.
		{name: "modproxy-login", command: func(j job) ([]string, error) {
			return []string{"serve", "ftp-login", "-listen", j.listen, "-to", "ftp://" + j.origin + "/"}, nil
		}},
		{name: "apache", programs: apachePeer.programs, debian: apachePeer.debian, command: func(j job) ([]string, error) {
			return apacheCommand(j, []string{"proxy", "proxy_ftp"}, fmt.Sprintf("ProxyPass / ftp://%s/\n", j.origin))
		}},
	},
}

// One client gets one file after the other, so that requests per second tell
// how long it waits.
var ftpWorkloads = []workload{
	{name: "ftp1k", about: "GET of 1 KB from an FTP server", family: ftpFamily, method: http.MethodGet, path: "/1024.bin", want: 1 << 10, connections: 1},
	{name: "ftp100m", about: "GET of 100 MB from an FTP server", family: ftpFamily, method: http.MethodGet, path: "/104857600.bin", want: 100 << 20, connections: 1},
}

// runVsftpd is the role vsftpd: the origin, with files of its own in the
// working directory.
func runVsftpd(ctx context.Context, listen string) error {
	program := (&peer{programs: []string{"vsftpd"}}).find()
	if program == "" {
		return errors.New("vsftpd is not installed (Debian: vsftpd)")
	}
	if os.Geteuid() != 0 {
		return errors.New("vsftpd must be started by root")
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	root, empty := filepath.Join(dir, "files"), filepath.Join(dir, "empty")
	if err := errors.Join(os.Mkdir(root, 0o755), os.Mkdir(empty, 0o755)); err != nil {
		return err
	}
	for _, n := range []int64{1 << 10, 100 << 20} {
		name, err := writeConfig(root, fmt.Sprintf("%d.bin", n), "")
		if err == nil {
			err = os.Truncate(name, n)
		}
		if err != nil {
			return err
		}
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return err
	}
	path, err := writeConfig(dir, "vsftpd.conf", fmt.Sprintf("listen=YES\nlisten_address=%s\nlisten_port=%s\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\nanon_root=%s\nftp_username=daemon\nsecure_chroot_dir=%s\nseccomp_sandbox=NO\n", host, port, root, empty))
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, path)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
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
