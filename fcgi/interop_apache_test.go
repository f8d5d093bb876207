package fcgi

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// raw sends a request as it is written, and returns the answer's variables.
func raw(t *testing.T, addr, request string) (status int, env map[string]any) {
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write([]byte(request))
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	body := readAll(t, resp)
	if resp.StatusCode != 200 {
		return resp.StatusCode, nil
	}
	return 200, parseEnv(t, body).Env
}

// TestVariablesAsFromApache compares what scripts are told by httpd and by us.
func TestVariablesAsFromApache(t *testing.T) {
	f := startPHPFPM(t, programs.PHPFPMOptions{})
	f.AddFile("env.php", envScript)
	f.AddFile("sub/env.php", envScript)
	apache := programs.HTTPD(t, "proxy proxy_fcgi", fmt.Sprintf("DocumentRoot %[2]s\nProxyPassMatch ^/(.*\\.php(/.*)?)$ %[1]s%[2]s/$1\n", f.target(), f.Dir))
	s, _ := f.front(t, f.transport(t))
	ours := strings.TrimPrefix(s.URL, "http://")

	// What we mean to be different.
	differs := map[string]string{
		"SERVER_SOFTWARE": "another server", "SERVER_SIGNATURE": "ours has none", "SERVER_ADMIN": "ours has none", "SERVER_PORT": "another port",
		"CONTEXT_PREFIX": "ours has none", "HTTP_AUTHORIZATION": "passed by default", "PHP_AUTH_USER": "of HTTP_AUTHORIZATION", "PHP_AUTH_PW": "of HTTP_AUTHORIZATION",
		"HTTP_X_FORWARDED_FOR": "set by the proxy", "HTTP_X_FORWARDED_HOST": "set by the proxy", "HTTP_X_FORWARDED_PROTO": "set by the proxy",
		"REMOTE_PORT": "another connection", "REQUEST_TIME": "time", "REQUEST_TIME_FLOAT": "time", "HTTP_CONNECTION": "hop by hop", "PATH": "php-fpm's own", "HTTP_TE": "hop by hop",
		"proxy-nokeepalive": "an internal one of httpd",
	}
	for name, request := range map[string]string{
		"plain":        "GET /env.php HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n",
		"query":        "GET /env.php?a=1&b=%20+;c HTTP/1.1\r\nHost: www.example.com\r\n\r\n",
		"dots":         "GET /sub/../env.php?x HTTP/1.1\r\nHost: www.example.com\r\n\r\n",
		"folder":       "GET /sub/env.php HTTP/1.1\r\nHost: www.example.com\r\n\r\n",
		"post":         "POST /env.php HTTP/1.1\r\nHost: www.example.com\r\nContent-Type: text/x\r\nContent-Length: 3\r\n\r\nabc",
		"chunked post": "POST /env.php HTTP/1.1\r\nHost: www.example.com\r\nContent-Type: text/x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"fields":       "GET /env.php HTTP/1.1\r\nHost: www.example.com\r\nX-A-B: 1\r\nX_A_B: 2\r\nProxy: evil\r\nX-Two: 1\r\nX-Two: 2\r\nCookie: a=1; b=2\r\nAuthorization: Basic YTpi\r\n\r\n",
		"HTTP/1.0":     "GET /env.php HTTP/1.0\r\nHost: www.example.com\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			status, theirs := raw(t, apache.Addr, request)
			require.Equal(t, 200, status)
			status, mine := raw(t, ours, request)
			require.Equal(t, 200, status)
			for name, value := range theirs {
				if differs[name] == "" && !strings.HasPrefix(name, "argc") && !strings.HasPrefix(name, "argv") {
					require.Equal(t, value, mine[name], name)
				}
			}
			for name := range mine {
				if differs[name] == "" {
					require.Contains(t, theirs, name)
				}
			}
		})
	}
}
