package ftpproxy

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	ftpserver "github.com/fclairamb/ftpserverlib"
	"github.com/spf13/afero"
	"github.com/stretchr/testify/require"
)

// user and password log in at the servers of tests that want a login.
const (
	testUser     = "ftp"
	testPassword = "s3cret@example.com"
)

// inProcess is a server of the library ftpserverlib.
type inProcess struct {
	settings ftpserver.Settings
	root     string
	login    bool // anonymous is refused
	tls      *tls.Config
	logins   atomic.Int32
	open     atomic.Int32
}

// startInProcess runs a server for a folder and returns its address.
func startInProcess(t *testing.T, d *inProcess) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	if d.settings.Listener = l; d.settings.TLSRequired == ftpserver.ImplicitEncryption {
		d.settings.Listener = tls.NewListener(l, d.tls)
	}
	d.settings.ActiveTransferPortNon20 = true
	s := ftpserver.NewFtpServer(d)
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

func (d *inProcess) GetSettings() (*ftpserver.Settings, error) { return &d.settings, nil }

func (d *inProcess) ClientConnected(ftpserver.ClientContext) (string, error) {
	d.open.Add(1)
	return "hello", nil
}

func (d *inProcess) ClientDisconnected(ftpserver.ClientContext) { d.open.Add(-1) }

func (d *inProcess) AuthUser(_ ftpserver.ClientContext, user, password string) (ftpserver.ClientDriver, error) {
	if d.login && (user != testUser || password != testPassword) {
		return nil, errors.New("refused")
	}
	d.logins.Add(1)
	return &linkingFs{afero.NewBasePathFs(afero.NewOsFs(), d.root), d.root}, nil
}

func (d *inProcess) GetTLSConfig() (*tls.Config, error) {
	if d.tls == nil {
		return nil, errors.New("no TLS here")
	}
	return d.tls, nil
}

// linkingFs lists links as what they are.
type linkingFs struct {
	afero.Fs
	root string
}

func (f *linkingFs) ReadDir(name string) ([]os.FileInfo, error) {
	list, err := os.ReadDir(filepath.Join(f.root, name))
	if err != nil {
		return nil, err
	}
	var infos []os.FileInfo
	for _, e := range list {
		if i, err := e.Info(); err == nil {
			infos = append(infos, i)
		}
	}
	return infos, nil
}
