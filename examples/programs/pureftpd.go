package programs

import (
	"os/exec"
	"strings"
	"testing"
)

// PureFTPd runs pure-ftpd. Whoever is let in may write.
func PureFTPd(t testing.TB, o FTPOptions) *Program {
	t.Helper()
	program := findUnpacked(t, "pure-ftpd", "pure-ftpd")
	admin := findUnpacked(t, "pure-ftpd-common", "pure-pw")
	NeedRoot(t, "pure-ftpd")
	dir := Folder(t)
	// Written by hand: pure-pw makes hashes that take seconds.
	passwd, err := write(dir, "passwd", o.passwd(t)+"/./::::::::::::\n")
	need(t, err)
	out, err := withLibraries(exec.Command(admin, "mkdb", dir+"/db", "-f", passwd)).CombinedOutput()
	if err != nil {
		t.Fatalf("pure-pw: %v: %s", err, out)
	}
	return Serve(t, func(addr string) (*exec.Cmd, error) {
		args := []string{"-S", "127.0.0.1," + port(addr), "-H", "-4", "-E", "-A", "-D", "-u", "1", "-g", dir + "/pid", "-l", "puredb:" + dir + "/db"}
		if o.Cert != "" {
			args = append(args, "-Y", "2", "-2", o.Cert)
		}
		return withLibraries(exec.Command(program, append(args, strings.Fields(o.More)...)...)), nil
	})
}
