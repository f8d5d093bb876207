package programs

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
)

// FTPOptions say how an FTP server runs, which must be started by root.
type FTPOptions struct {
	Root     string // what it serves
	User     string // who alone is let in; empty means whoever is anonymous
	Password string // what he must give, and for PureFTPd also who is anonymous
	Cert     string // of TLS, without which it lets nobody in: a file with certificate and key
	More     string // lines for its configuration, or PureFTPd's arguments
}

// passwd returns the beginning of a line of a file of passwords, up to the
// folder.
func (o FTPOptions) passwd(t testing.TB) string {
	t.Helper()
	hash, err := exec.Command(Find(t, "openssl", "openssl"), "passwd", "-6", o.Password).Output()
	need(t, err)
	nobody, err := user.Lookup("nobody")
	need(t, err)
	return fmt.Sprintf("%s:%s:%s:%s::%s", cmp.Or(o.User, "anonymous"), strings.TrimSpace(string(hash)), nobody.Uid, nobody.Gid, o.Root)
}

// unpacked names the folder of packages that are not installed, since Debian
// installs only one FTP server at a time.
const unpacked = "MODPROXY_FTPD_DIR"

// orUnpacked follows the name of a package in the message that it is missing.
const orUnpacked = ", which may also be unpacked into the folder that " + unpacked + " names"

// findUnpacked returns where a program is: in the folder of unpacked, or
// installed.
func findUnpacked(t testing.TB, debianPackage, name string) string {
	t.Helper()
	if dir := os.Getenv(unpacked); dir != "" {
		for _, bin := range []string{"usr/sbin", "usr/bin"} {
			if path, err := exec.LookPath(filepath.Join(dir, bin, name)); err == nil {
				return path
			}
		}
	}
	return Find(t, debianPackage+orUnpacked, name)
}

// withLibraries lets a program that was not installed find its libraries.
func withLibraries(cmd *exec.Cmd) *exec.Cmd {
	if dir := os.Getenv(unpacked); dir != "" {
		if dirs, _ := filepath.Glob(filepath.Join(dir, "usr/lib/*-linux-gnu")); len(dirs) > 0 {
			cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(dirs, ":"))
		}
	}
	return cmd
}
