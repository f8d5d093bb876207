package apache

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// TestHalfCloseBesideHTTPD: clients that end their side behind a request, while the
// origin is at work, get of this program what they get of the real httpd.
func TestHalfCloseBesideHTTPD(t *testing.T) {
	const get, post = "GET /1 HTTP/1.1\r\nHost: h\r\n", "POST /1 HTTP/1.1\r\nHost: h\r\n"
	rows := map[string]struct {
		sends string
		want  []string // status and body
		httpd string   // instead of want
	}{
		"GET":           {sends: get + "\r\n", want: []string{"200 GET /1 "}},
		"GET, closing":  {sends: get + "Connection: close\r\n\r\n", want: []string{"200 GET /1 "}},
		"GET, HTTP/1.0": {sends: "GET /1 HTTP/1.0\r\n\r\n", want: []string{"200 GET /1 "}},
		"POST":          {sends: post + "Content-Length: 2\r\n\r\nab", want: []string{"200 POST /1 ab"}},
		"POST, chunked": {sends: post + "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", want: []string{"200 POST /1 ab"}},
		"two":           {sends: get + "\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n", want: []string{"200 GET /1 ", "200 GET /2 "}},
		"in the head":   {sends: get, want: []string{"400"}},
		// A client that breaks off its body has left, for us.
		"in the body": {sends: post + "Content-Length: 9\r\n\r\nab", httpd: "400"},
		"in a chunk":  {sends: post + "Transfer-Encoding: chunked\r\n\r\n9\r\nab", httpd: "400"},
	}
	work := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select { // longer by far than it takes to see the client's end
		case <-r.Context().Done():
		case <-time.After(200 * time.Millisecond):
			_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
		}
	})
	origin := httptest.NewServer(work)
	t.Cleanup(origin.Close)
	config := "ProxyPass / http://" + origin.Listener.Addr().String() + "/\n"
	for server, addr := range map[string]string{
		"ours":           start(t, "Listen 80\n"+config, echo).addr(),
		"ours, and more": start(t, "Listen 80\nRemoteIPProxyProtocol Off\nCacheEnable socache /\n"+config, echo).addr(),
		"httpd":          programs.HTTPD(t, "proxy proxy_http", config).Addr,
	} {
		for name, r := range rows {
			t.Run(server+"/"+name, func(t *testing.T) {
				t.Parallel()
				c, err := net.Dial("tcp", addr)
				require.NoError(t, err)
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				_, err = io.WriteString(c, r.sends)
				require.NoError(t, err)
				require.NoError(t, c.(*net.TCPConn).CloseWrite())
				var got []string
				from := bufio.NewReader(c)
				for {
					if _, err := from.Peek(1); err == io.EOF {
						break
					}
					resp, err := http.ReadResponse(from, nil)
					require.NoError(t, err)
					body, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					line := strconv.Itoa(resp.StatusCode)
					if resp.StatusCode == http.StatusOK {
						line += " " + string(body)
					}
					got = append(got, line)
				}
				want := r.want
				if server == "httpd" && r.httpd != "" {
					want = []string{r.httpd}
				}
				require.Equal(t, want, got)
			})
		}
	}
}
