package programs

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// Find returns the path of an installed program: the first of the names that is
// there. A name may be a pattern of [filepath.Glob].
func Find(t testing.TB, debianPackage string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
		for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} { // not in everybody's PATH
			if found, _ := filepath.Glob(filepath.Join(dir, name)); len(found) > 0 {
				return found[len(found)-1]
			}
		}
	}
	Missing(t, names[0], debianPackage)
	return ""
}

// NeedFile is [Missing] if there is no such file.
func NeedFile(t testing.TB, path, debianPackage string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		Missing(t, path, debianPackage)
	}
}

// NeedRoot is [Cannot] if a program that root must start cannot be.
func NeedRoot(t testing.TB, program string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Cannot(t, "%s must be started by root", program)
	}
}

// Missing is [Cannot] for what is not installed.
func Missing(t testing.TB, what, debianPackage string) {
	t.Helper()
	Cannot(t, "%s is not installed; it is in the Debian package %s", what, debianPackage)
}

// Cannot skips a test that cannot run here, or fails it if
// MODPROXY_INTEROP=require says that whatever tests need ought to be there.
func Cannot(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("MODPROXY_INTEROP") == "require" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// CannotHere is [Cannot] for what each Linux has. Other systems may be without
// it, whatever the environment says.
func CannotHere(t testing.TB, format string, args ...any) {
	t.Helper()
	if runtime.GOOS == "linux" {
		Cannot(t, format, args...)
	} else {
		t.Skipf(format, args...)
	}
}

// Folder returns a new folder that a program may enter and write to after it
// has given up the rights of root, which it may not with t.TempDir. Its name is
// short enough for sockets in it.
func Folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "modproxy-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o777))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// write writes files below a folder, and returns the path of the last.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// unprivileged is whom the children of a server run as that root has started;
// the names are empty if we are not root.
func unprivileged(t testing.TB) (userName, groupName string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return "", ""
	}
	u, err := user.Lookup("nobody")
	require.NoError(t, err)
	g, err := user.LookupGroupId(u.Gid)
	require.NoError(t, err)
	return u.Username, g.Name
}
