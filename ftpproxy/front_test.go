package ftpproxy

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
)

// patience is longer than anything takes on a busy machine.
const patience = 30 * time.Second

// server is one of the servers that the same tests run against.
type server struct {
	root string // what is served
	addr string // anonymous may read all, and write to upload
	auth string // the same with a login
	// MLSD of some servers tells what a link leads to, and not that it is one.
	followsLinks bool
}

// front is a reverse proxy before a server.
type front struct {
	*httptest.Server
	t         *testing.T
	transport *Transport
	handler   *proxy.Handler
}

// newFront starts one; with userinfo in the target, that logs in.
func newFront(t *testing.T, target string) *front {
	t.Helper()
	h, err := NewHandler("/ftp/", target)
	require.NoError(t, err)
	h.AllowEncodedSlashes = true
	f := &front{Server: httptest.NewServer(h), t: t, transport: h.Transport.(*Transport), handler: h}
	f.transport.Backend.Timeout = patience
	t.Cleanup(func() {
		f.Close()
		_ = f.transport.Backend.Close()
		f.Client().CloseIdleConnections()
	})
	return f
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
	length int64
}

// do sends a request whose path is as it is written. Fields are "Name: value".
func (f *front) do(method, path string, body io.Reader, fields ...string) answer {
	f.t.Helper()
	r, err := http.NewRequest(method, f.URL+path, body)
	require.NoError(f.t, err)
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Set(name, value)
	}
	client := *f.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(r)
	require.NoError(f.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(f.t, err)
	return answer{resp.StatusCode, resp.Header, string(text), resp.ContentLength}
}

func (f *front) get(path string, fields ...string) answer {
	f.t.Helper()
	return f.do("GET", path, nil, fields...)
}

// jsonListing is a listing as those see it who ask for JSON.
type jsonListing struct {
	Path    string
	Notes   []string
	Entries []struct {
		Name, Href, Type, Target string
		Size                     *int64
		Modified                 *time.Time
	}
}

func (f *front) listing(path string) (list jsonListing, names []string) {
	f.t.Helper()
	a := f.get(path, "Accept: application/json")
	require.Equal(f.t, 200, a.status, a.body)
	require.NoError(f.t, json.Unmarshal([]byte(a.body), &list), a.body)
	for _, e := range list.Entries {
		names = append(names, e.Name)
	}
	return list, names
}

func basic(user, password string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return "Authorization: " + r.Header.Get("Authorization")
}
