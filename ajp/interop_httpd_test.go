package ajp

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// withProxyAJP are the modules for mod_proxy_ajp.
const withProxyAJP = "env proxy proxy_ajp"

// TestServerBehindHTTPD has the real mod_proxy_ajp and mod_jk before a Server.
func TestServerBehindHTTPD(t *testing.T) {
	t.Run("mod_proxy_ajp", func(t *testing.T) {
		testServerBehind(t, true, func(url string) string {
			return startHTTPD(t, withProxyAJP, "SetEnv AJP_ORG acme\nProxyPass / "+url+"/ secret=s3cret ping=30\n")
		})
	})
	t.Run("mod_jk", func(t *testing.T) {
		testServerBehind(t, false, func(url string) string {
			host, port, err := net.SplitHostPort(strings.TrimPrefix(url, "ajp://"))
			require.NoError(t, err)
			var conf strings.Builder
			conf.WriteString("JkLogFile /dev/stderr\nJkShmFile jk.shm\nJkLogLevel error\n")
			for _, property := range []string{"list=w", "w.type=ajp13", "w.host=" + host, "w.port=" + port, "w.secret=s3cret", "w.ping_mode=A", "w.ping_timeout=30000"} {
				fmt.Fprintf(&conf, "JkWorkerProperty worker.%s\n", property)
			}
			conf.WriteString("JkEnvVar ORG acme\nJkMount /* w\n")
			return startHTTPD(t, "jk", conf.String())
		})
	})
}

// testServerBehind asks a Server through a proxy that start runs for its URL.
// mod_jk does not tell its clients of an answer that was cut off.
func testServerBehind(t *testing.T, tellsCuts bool, start func(url string) string) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 10<<16) // 10 MB
	mux := http.NewServeMux()
	mux.HandleFunc("/view", func(w http.ResponseWriter, r *http.Request) {
		a := AttributesFrom(r.Context())
		fmt.Fprintf(w, "%s %s %s %s port=%s ours=%s", r.Method, r.RequestURI, r.Host, r.RemoteAddr, a.RemotePort, r.Header.Get("X-Test"))
		if v, ok := a.Get("ORG"); ok {
			fmt.Fprintf(w, " ORG=%s", v)
		}
	})
	mux.HandleFunc("/up", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	})
	mux.HandleFunc("/down", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(big) })
	mux.HandleFunc("/early", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) })
	mux.HandleFunc("/none", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(big[:100000])
		panic(http.ErrAbortHandler)
	})
	gone := make(chan struct{})
	begun := make(chan struct{})
	mux.HandleFunc("/gone", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun")
		w.(http.Flusher).Flush()
		close(begun)
		for r.Context().Err() == nil { // httpd notices when it writes to the client
			_, _ = w.Write(big[:8000])
			w.(http.Flusher).Flush()
		}
		close(gone)
	})
	url := startServer(t, &Server{Handler: mux, Secret: "s3cret", AllowAttribute: func(name string) bool { return name == "ORG" }})
	front := start(url)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	get := func(method, path string, body io.Reader) (*http.Response, string) {
		r, err := http.NewRequest(method, front+path, body)
		require.NoError(t, err)
		r.Header.Set("X-Test", "v1")
		resp, err := client.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		switch {
		case path != "/cut":
			require.NoError(t, err)
		case tellsCuts:
			require.Error(t, err, "the client must not take a part for the whole")
		}
		return resp, string(text)
	}
	for range 20 {
		_, text := get("GET", "/view?a=b%2F", nil)
		require.Regexp(t, `^GET /view\?a=b%2F `+strings.TrimPrefix(front, "http://")+` 127\.0\.0\.1:(\d+) port=\d+ ours=v1 ORG=acme$`, text)
	}
	_, text := get("DELETE", "/view", nil)
	require.Contains(t, text, "DELETE /view")
	for _, size := range []int{0, 1, 8186, 8187, 1 << 20} {
		for _, chunked := range []bool{false, true} {
			body := io.Reader(bytes.NewReader(make([]byte, size)))
			if chunked {
				body = io.MultiReader(body)
			}
			_, text := get("POST", "/up", body)
			require.Equal(t, fmt.Sprint(size, "<nil>"), strings.ReplaceAll(text, " ", ""))
		}
	}
	_, text = get("GET", "/down", nil)
	require.True(t, text == string(big), "%d bytes", len(text))
	resp, _ := get("POST", "/early", bytes.NewReader(make([]byte, 1<<20)))
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	resp, _ = get("GET", "/none", nil)
	require.Equal(t, http.StatusNoContent, resp.StatusCode)
	resp, _ = get("HEAD", "/down", nil)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	get("GET", "/cut", nil)

	r, err := http.NewRequest("GET", front+"/gone", nil)
	require.NoError(t, err)
	resp, err = client.Do(r)
	require.NoError(t, err)
	<-begun
	require.NoError(t, resp.Body.Close())
	<-gone
}

// TestServerRefusesHTTPDWithoutTheSecret also sends an attribute that nobody
// expects.
func TestServerRefusesHTTPDWithoutTheSecret(t *testing.T) {
	url := startServer(t, &Server{Handler: echo, Secret: "s3cret"})
	for _, directives := range []string{
		"ProxyPass / " + url + "/\n",
		"ProxyPass / " + url + "/ secret=wrong\n",
		"SetEnv AJP_ORG acme\nProxyPass / " + url + "/ secret=s3cret\n",
	} {
		resp, err := http.Get(startHTTPD(t, withProxyAJP, directives) + "/")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusForbidden, resp.StatusCode, directives)
	}
	http.DefaultClient.CloseIdleConnections()
}
