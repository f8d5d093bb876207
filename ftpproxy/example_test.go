package ftpproxy_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	ftpserver "github.com/fclairamb/ftpserverlib"
	"github.com/spf13/afero"

	"github.com/modproxy/modproxy/ftpproxy"
)

// archive is an FTP server with a few files in memory.
type archive struct {
	afero.Fs
	listener net.Listener
}

func (a *archive) GetSettings() (*ftpserver.Settings, error) {
	return &ftpserver.Settings{Listener: a.listener}, nil
}
func (a *archive) ClientConnected(ftpserver.ClientContext) (string, error) { return "hello", nil }
func (a *archive) ClientDisconnected(ftpserver.ClientContext)              {}
func (a *archive) GetTLSConfig() (*tls.Config, error)                      { return nil, errors.New("no TLS here") }
func (a *archive) AuthUser(ftpserver.ClientContext, string, string) (ftpserver.ClientDriver, error) {
	return a.Fs, nil
}

// startArchive stands for any FTP server.
func startArchive() (addr string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	a := &archive{afero.NewMemMapFs(), l}
	for name, text := range map[string]string{"/pub/notes.txt": "first line\n", "/pub/old/a b.txt": "x"} {
		_ = afero.WriteFile(a, name, []byte(text), 0o644)
		_ = a.Chtimes(name, time.Unix(1e9, 0), time.Unix(1e9, 0))
	}
	s := ftpserver.NewFtpServer(a)
	if err := s.Listen(); err != nil {
		log.Fatal(err)
	}
	go func() { _ = s.Serve() }()
	return l.Addr().String(), func() { _ = s.Stop() }
}

// ProxyPass /files/ ftp://127.0.0.1/pub/
func ExampleNewHandler() {
	addr, stop := startArchive()
	defer stop()
	h, err := ftpproxy.NewHandler("/files/", "ftp://"+addr+"/pub/")
	if err != nil {
		log.Fatal(err)
	}
	defer h.Transport.(*ftpproxy.Transport).Backend.Close()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://www.example.com/files/notes.txt", nil))
	fmt.Print(w.Body)
	fmt.Println(w.Header().Get("Content-Length"), w.Header().Get("Last-Modified"))

	r := httptest.NewRequest("GET", "http://www.example.com/files/old/", nil)
	r.Header.Set("Accept", "application/json")
	w = httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Print(w.Body)
	// Output:
	// first line
	// 11 Sun, 09 Sep 2001 01:46:40 GMT
	// {"path": "/pub/old/", "entries": [
	// {"name":"a b.txt","href":"./a%20b.txt","type":"file","size":1,"modified":"2001-09-09T01:46:40Z"}
	// ]}
}

// An http.Client needs no server around it.
func ExampleTransport() {
	addr, stop := startArchive()
	defer stop()
	t := &ftpproxy.Transport{User: url.UserPassword("ann", "secret")}
	defer t.CloseIdleConnections()
	client := &http.Client{Transport: t}
	r, err := http.NewRequest("GET", "ftp://"+addr+"/pub/notes.txt", nil)
	if err != nil {
		log.Fatal(err)
	}
	r.Header.Set("Range", "bytes=6-9")
	resp, err := client.Do(r)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, string(body))
	// Output: 206 Partial Content line
}
