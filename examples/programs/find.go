package programs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"testing"
)

// Lookup returns the path of an installed program: the first of the names that
// is there. A name may be a pattern of [filepath.Glob].
func Lookup(debianPackage string, names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
		for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} { // not in everybody's PATH
			if found, _ := filepath.Glob(filepath.Join(dir, name)); len(found) > 0 {
				return found[len(found)-1], nil
			}
		}
	}
	return "", missing(names[0], debianPackage)
}

// Find is [Lookup] for a test.
func Find(t testing.TB, debianPackage string, names ...string) string {
	t.Helper()
	path, err := Lookup(debianPackage, names...)
	need(t, err)
	return path
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
	need(t, needRoot(program))
}

func needRoot(program string) error {
	if os.Geteuid() != 0 {
		return cannot(program + " must be started by root")
	}
	return nil
}

// Missing is [Cannot] for what is not installed.
func Missing(t testing.TB, what, debianPackage string) {
	t.Helper()
	need(t, missing(what, debianPackage))
}

// cannot is an error for [Cannot].
type cannot string

func (c cannot) Error() string { return string(c) }

func missing(what, debianPackage string) error {
	return cannot(fmt.Sprintf("%s is not installed; it is in the Debian package %s", what, debianPackage))
}

// need ends a test that cannot have its program: see [Cannot].
func need(t testing.TB, err error) {
	t.Helper()
	if why := cannot(""); errors.As(err, &why) {
		Cannot(t, "%s", string(why))
	} else if err != nil {
		t.Fatal(err)
	}
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
	need(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	need(t, os.Chmod(dir, 0o777))
	return dir
}

// write writes a file below a folder, and returns its path.
func write(dir, name, text string) (string, error) {
	path := filepath.Join(dir, name)
	return path, errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644))
}

// unprivileged is whom the children of a server run as that root has started;
// the names are empty if we are not root.
func unprivileged() (userName, groupName string, err error) {
	if os.Geteuid() != 0 {
		return "", "", nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return "", "", err
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		return "", "", err
	}
	return u.Username, g.Name, nil
}
