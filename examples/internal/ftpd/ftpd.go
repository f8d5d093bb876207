// Package ftpd runs an FTP server in this process for the tests of examples.
package ftpd

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	ftpserver "github.com/fclairamb/ftpserverlib"
	"github.com/spf13/afero"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// User and Password are let in by servers that refuse who is anonymous.
const (
	User     = "ftp"
	Password = "s3cret@example.com"
)

// Written is when the files of [Plant] were changed last.
var Written = time.Date(2024, 3, 2, 3, 4, 5, 0, time.UTC)

// Plant writes files, by name, to a folder that every server may read.
func Plant(t testing.TB, files map[string]string) string {
	t.Helper()
	root := programs.Folder(t)
	require.NoError(t, os.Chmod(root, 0o755)) // vsftpd serves no folder that others may write to
	for name, text := range files {
		file := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		require.NoError(t, os.Chtimes(file, Written, Written))
	}
	return root
}

// Serve runs a server in this process until the test ends, and returns its
// address. With login, who is anonymous is refused.
func Serve(t testing.TB, root string, login bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := ftpserver.NewFtpServer(&driver{l, root, login})
	require.NoError(t, s.Listen())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve()
	}()
	t.Cleanup(func() {
		_ = s.Stop()
		<-done
	})
	return l.Addr().String()
}

type driver struct {
	listener net.Listener
	root     string
	login    bool
}

// GetSettings is asked for at the start.
func (d *driver) GetSettings() (*ftpserver.Settings, error) {
	return &ftpserver.Settings{Listener: d.listener}, nil
}

// ClientConnected returns the greeting.
func (d *driver) ClientConnected(ftpserver.ClientContext) (string, error) { return "hello", nil }

// ClientDisconnected has nothing to do.
func (d *driver) ClientDisconnected(ftpserver.ClientContext) {}

// GetTLSConfig says that there is no TLS.
func (d *driver) GetTLSConfig() (*tls.Config, error) { return nil, errors.New("no TLS here") }

// AuthUser lets in who may.
func (d *driver) AuthUser(_ ftpserver.ClientContext, user, password string) (ftpserver.ClientDriver, error) {
	if d.login && (user != User || password != Password) {
		return nil, errors.New("refused")
	}
	return afero.NewBasePathFs(afero.NewOsFs(), d.root), nil
}
