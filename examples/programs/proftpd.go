package programs

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"
)

// ProFTPD runs proftpd. Whoever is let in may write.
func ProFTPD(t testing.TB, o FTPOptions) *Program {
	t.Helper()
	program := findUnpacked(t, "proftpd-core", "proftpd")
	NeedRoot(t, "proftpd")
	userName, groupName, err := unprivileged()
	need(t, err)
	dir := Folder(t)
	need(t, os.Chmod(dir, 0o755)) // it reads no passwords where others may write
	text := ""
	if o.Cert != "" {
		module := filepath.Join("/", os.Getenv(unpacked), "usr/lib/proftpd/mod_tls.so")
		NeedFile(t, module, "proftpd-mod-crypto"+orUnpacked)
		text = fmt.Sprintf("ModulePath %s\nLoadModule mod_tls.c\nTLSEngine on\nTLSRequired on\nTLSRSACertificateFile %s\nTLSRSACertificateKeyFile %[2]s\n", filepath.Dir(module), o.Cert)
	}
	text += fmt.Sprintf(`ServerType standalone
DefaultAddress 127.0.0.1
SocketBindTight on
PidFile %[1]s/pid
ScoreboardFile %[1]s/score
DelayTable none
SystemLog none
WtmpLog off
UseIPv6 off
UseReverseDNS off
User %[2]s
Group %[3]s
RequireValidShell off
AuthOrder mod_auth_file.c
AuthUserFile %[1]s/passwd
AuthGroupFile %[1]s/group
AllowOverwrite on
AllowRetrieveRestart on
DefaultRoot ~
`, dir, userName, groupName)
	if o.User == "" {
		text += fmt.Sprintf("<Anonymous %s>\nUser anonymous\nGroup %s\nRequireValidShell off\n</Anonymous>\n", o.Root, groupName)
	}
	group, err := user.LookupGroup(groupName)
	need(t, err)
	for name, line := range map[string]string{"passwd": o.passwd(t) + ":/bin/false\n", "group": groupName + ":*:" + group.Gid + ":\n"} {
		need(t, os.WriteFile(filepath.Join(dir, name), []byte(line), 0o600))
	}
	return Serve(t, func(addr string) (*exec.Cmd, error) {
		file, err := write(dir, "proftpd.conf", text+"Port "+port(addr)+"\n"+o.More)
		return withLibraries(exec.Command(program, "-n", "-q", "-c", file)), err
	})
}
