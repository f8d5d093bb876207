package proxy

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// curlText runs curl, which must succeed, and returns what it wrote.
func curlText(t *testing.T, args ...string) string {
	t.Helper()
	got := programs.Curl(t, args...)
	require.Zero(t, got.Code, "curl %q: %s", args, got.Errors)
	return got.Out
}

// curlFronts are the ways in which curl reaches a handler: each returns the
// URL and the arguments.
var curlFronts = map[string]func(t *testing.T, h http.Handler) (string, []string){
	"http/1.1": func(t *testing.T, h http.Handler) (string, []string) {
		return frontOf(t, h).URL, []string{"--http1.1"}
	},
	"http/1.0": func(t *testing.T, h http.Handler) (string, []string) {
		return frontOf(t, h).URL, []string{"--http1.0"}
	},
	"h2c": func(t *testing.T, h http.Handler) (string, []string) {
		s := httptest.NewUnstartedServer(h)
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
		t.Cleanup(s.Close)
		return s.URL, []string{"--http2-prior-knowledge"}
	},
	"https": func(t *testing.T, h http.Handler) (string, []string) {
		return tlsFront(t, h, false), []string{"--insecure", "--http1.1"}
	},
	"h2": func(t *testing.T, h http.Handler) (string, []string) {
		return tlsFront(t, h, true), []string{"--insecure", "--http2"}
	},
}

func tlsFront(t *testing.T, h http.Handler, http2 bool) string {
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = http2
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// everyCurlFront runs a test with curl in front of a handler over each
// protocol.
func everyCurlFront(t *testing.T, h http.Handler, test func(t *testing.T, at string, args func(more ...string) []string)) {
	for name := range curlFronts {
		curlFront(t, name, h, test)
	}
}

// curlFront is the same for one of the protocols.
func curlFront(t *testing.T, name string, h http.Handler, test func(t *testing.T, at string, args func(more ...string) []string)) {
	t.Run(name, func(t *testing.T) {
		at, args := curlFronts[name](t, h)
		test(t, at, func(more ...string) []string { return append(args[:len(args):len(args)], more...) })
	})
}

// curlOrigin tells what it got; /data is a file of fileContent.
func curlOrigin(t *testing.T) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		w.Header().Set("X-Method", r.Method)
		fmt.Fprintf(w, "%s %s %d of %d %x %v\n", r.Method, r.RequestURI, n, r.ContentLength, sum.Sum(nil), err)
	})
	modified := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	mux.HandleFunc("/data", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "data.bin", modified, strings.NewReader(fileContent))
	})
	return mux
}

// fileContent is some data in which every place is different.
var fileContent = func() string {
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.String()
}()

// upload writes a file of n bytes and returns its path and checksum.
func upload(t *testing.T, n int) (path, sum string) {
	data := []byte(strings.Repeat(fileContent, n/len(fileContent)+1)[:n])
	path = filepath.Join(t.TempDir(), "upload")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path, fmt.Sprintf("%x", sha256.Sum256(data))
}

// curlHandler is a handler in front of an origin.
func curlHandler(t *testing.T, origin http.Handler) *Handler {
	programs.Find(t, "curl", "curl")
	h, _, _ := handlerFor(t, mustParse(t, frontOf(t, origin).URL))
	h.AllowEncodedSlashes = true
	return h
}

func TestCurlDownloads(t *testing.T) {
	h := curlHandler(t, curlOrigin(t))
	everyCurlFront(t, h, func(t *testing.T, at string, args func(...string) []string) {
		require.Equal(t, fileContent, curlText(t, args(at+"/data")...))
		require.Equal(t, fileContent[100:1000], curlText(t, args("--range", "100-999", at+"/data")...))
		require.Equal(t, "GET /a%2Fb?x=%zz&y;z 0 of 0", cut(curlText(t, args(at+"/a%2Fb?x=%zz&y;z")...)))

		head := curlText(t, args("--head", at+"/data")...)
		require.Contains(t, strings.ToLower(head), fmt.Sprintf("content-length: %d\r\n", len(fileContent)))
		require.Contains(t, curlText(t, args("--range", "9999999-", "--include", at+"/data")...), " 416")
		require.Equal(t, "304 0", curlText(t, args("--header", `If-None-Match: "v1"`, "--write-out", "%{http_code} %{size_download}", at+"/data")...))

		if strings.HasSuffix(t.Name(), "http/1.0") || strings.HasSuffix(t.Name(), "h2c") {
			return // curl 7.88 fails on its second request to any server by h2c
		}
		ten := curlText(t, args("--write-out", "%{num_connects}\n", "--output", filepath.Join(t.TempDir(), "#1"), at+"/data?[1-10]")...)
		require.Equal(t, "1"+strings.Repeat("\n0", 9)+"\n", ten, "one connection is enough")
	})
}

// cut removes checksum and error from a line of curlOrigin.
func cut(line string) string {
	fields := strings.Fields(line)
	return strings.Join(fields[:min(5, len(fields))], " ")
}

func TestCurlUploads(t *testing.T) {
	h := curlHandler(t, curlOrigin(t))
	everyCurlFront(t, h, func(t *testing.T, at string, args func(...string) []string) {
		for _, n := range []int{0, 1, 100_000, 3_000_000} {
			path, sum := upload(t, n)
			got := curlText(t, args("--data-binary", "@"+path, at+"/post")...)
			require.Equal(t, fmt.Sprintf("POST /post %d of %d %s <nil>\n", n, n, sum), got)
			got = curlText(t, args("--upload-file", path, at+"/put")...)
			require.Equal(t, fmt.Sprintf("PUT /put %d of %d %s <nil>\n", n, n, sum), got)
			if strings.HasSuffix(t.Name(), "http/1.0") {
				continue // has no chunks
			}
			got = curlText(t, args("--header", "Transfer-Encoding: chunked", "--data-binary", "@"+path, at+"/chunks")...)
			if n == 0 {
				require.Equal(t, "POST /chunks 0", strings.Join(strings.Fields(got)[:3], " "))
				continue
			}
			require.Equal(t, fmt.Sprintf("POST /chunks %d of -1 %s <nil>\n", n, sum), got)
		}
	})
}

// TestCurlExpectsContinue: above 1 MB curl waits for a 100 by itself; here it
// would wait longer than it may take in all.
func TestCurlExpectsContinue(t *testing.T) {
	h := curlHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			http.Error(w, "no", http.StatusRequestEntityTooLarge)
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.Header.Get("Expect"), " ", n)
	}))
	path, _ := upload(t, 3_000_000)
	for _, front := range []string{"http/1.1", "https"} {
		t.Run(front, func(t *testing.T) {
			at, args := curlFronts[front](t, h)
			args = append(args, "--verbose", "--expect100-timeout", "100", "--data-binary", "@"+path)
			got := programs.Curl(t, append(args, at+"/take")...)
			require.Zero(t, got.Code, got.Errors)
			require.Contains(t, got.Errors, "\n< HTTP/1.1 100 Continue")
			require.Equal(t, "100-continue 3000000", got.Out)

			// Refused: not a byte of the body is sent.
			got = programs.Curl(t, append(args, "--write-out", "%{http_code} %{size_upload}", at+"/refuse")...)
			require.Zero(t, got.Code, got.Errors)
			require.NotContains(t, got.Errors, "100 Continue")
			require.Equal(t, "no\n413 0", got.Out)
		})
	}
}

func TestCurlSeesTrailers(t *testing.T) {
	h := curlHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body\n")
		_ = http.NewResponseController(w).Flush()
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"X-Late", "43")
	}))
	everyCurlFront(t, h, func(t *testing.T, at string, args func(...string) []string) {
		got := strings.ToLower(curlText(t, args("--include", at)...))
		if strings.HasSuffix(t.Name(), "http/1.0") {
			require.True(t, strings.HasSuffix(got, "\r\n\r\nbody\n"), "HTTP/1.0 has no trailers: %q", got)
			return
		}
		_, after, _ := strings.Cut(got, "\r\n\r\n")
		require.Contains(t, after, "body\n")
		require.Contains(t, after, "x-sum: 42\r\n")
		require.Contains(t, after, "x-late: 43\r\n")
	})
}

// TestCurlGetsEvents: each event is with curl before the next is sent.
func TestCurlGetsEvents(t *testing.T) {
	got := make(chan struct{})
	h := curlHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 4 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-got:
			case <-r.Context().Done():
				return
			}
		}
	}))
	everyCurlFront(t, h, func(t *testing.T, at string, args func(...string) []string) {
		cmd := programs.CurlCommand(t, args("--no-buffer", at)...)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		for i := range 4 {
			event := fmt.Sprintf("data: %d\n\n", i)
			b := make([]byte, len(event))
			_, err := io.ReadFull(out, b)
			require.NoError(t, err)
			require.Equal(t, event, string(b))
			got <- struct{}{}
		}
		require.NoError(t, cmd.Wait())
	})
}

// TestCurlPathsAsTheyAre: dot segments are resolved before a rule is looked
// for, and %2F is no slash.
func TestCurlPathsAsTheyAre(t *testing.T) {
	back := frontOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RequestURI) }))
	h, _, _ := handlerFor(t, mustParse(t, back.URL+"/in/"))
	h.Prefix, h.AllowEncodedSlashes = "/out/", true
	check := func(t *testing.T, at string, args func(...string) []string) {
		for path, want := range map[string]string{
			"/out/a%2Fb%2f..%2Fc":   "/in/a%2Fb%2f..%2Fc",
			"/out/a/../b":           "/in/b",
			"/out/./a/%2e%2E/b//c":  "/in/b/c",
			"/x/../out/a":           "/in/a",
			"/out//a|b":             "/in//a%7Cb",
			"/out/caf%C3%A9?a|b=%2": "/in/caf%C3%A9?a|b=%2",
		} {
			require.Equal(t, want, curlText(t, args("--path-as-is", "--globoff", at+path)...), path)
		}
		for _, path := range []string{"/out/../secret", "/out/a/%2e%2e/%2E./secret", "/%6fut/../in/a", "/out/../../../etc/passwd"} {
			require.Contains(t, "404 400", curlText(t, args("--path-as-is", "--output", os.DevNull, "--write-out", "%{http_code}", at+path)...), path)
		}
	}
	curlFront(t, "http/1.1", h, check)
	curlFront(t, "h2", h, check)
}

// TestCurlSeesTheCut: an answer that the backend broke off never looks whole.
func TestCurlSeesTheCut(t *testing.T) {
	const partial, receiving, http2Stream = 18, 56, 92 // exit codes of curl
	part := strings.Repeat("x", 100_000)
	programs.Find(t, "curl", "curl")
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n" + part,
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n" + part + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, func(c *originConn, _ int) {
				if _, ok := c.head(); ok {
					c.say(answer)
				}
			})
			h, _, _ := handlerFor(t, o.url())
			everyCurlFront(t, h, func(t *testing.T, at string, args func(...string) []string) {
				got := programs.Curl(t, args(at)...)
				switch {
				case strings.Contains(t.Name(), "/h2"):
					require.Equal(t, http2Stream, got.Code, got.Errors)
				case strings.Contains(t.Name(), "chunked/http/1.0"):
					require.Equal(t, receiving, got.Code, "without chunks only a reset tells a cut from an end")
				default:
					require.Equal(t, partial, got.Code, got.Errors)
				}
				require.Contains(t, part, got.Out)
				require.NotEmpty(t, got.Out)
			})
		})
	}
}

func TestCurlToUnixSocket(t *testing.T) {
	programs.Find(t, "curl", "curl")
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: curlOrigin(t)}}
	s.Start()
	t.Cleanup(s.Close)
	h, err := NewHandler("/u/", "unix:"+path+"|http://name/")
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.own.Backend.Close() })
	file, sum := upload(t, 200_000)
	everyCurlFront(t, h, func(t *testing.T, at string, args func(...string) []string) {
		require.Equal(t, fileContent, curlText(t, args(at+"/u/data")...))
		require.Equal(t, fmt.Sprintf("POST /x 200000 of 200000 %s <nil>\n", sum), curlText(t, args("--data-binary", "@"+file, at+"/u/x")...))
	})
}
