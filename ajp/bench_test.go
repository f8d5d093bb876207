package ajp

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// typicalRequest is one of a browser.
func typicalRequest() (*http.Request, *facts) {
	u := &url.URL{Scheme: "ajp", Host: "localhost:8009", Path: "/app/index.jsp", RawQuery: "a=b"}
	r := &http.Request{Method: "GET", Proto: "HTTP/1.1", URL: u, Header: http.Header{
		"User-Agent": {"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}, "Accept": {"text/html,*/*;q=0.8"},
		"Accept-Language": {"en"}, "Accept-Encoding": {"gzip, br"}, "Cookie": {"JSESSIONID=0123456789ABCDEF.node1"},
		"Referer": {"https://www.example.com/"}, "X-Request-Id": {"1234"},
	}}
	return r, &facts{host: "www.example.com", remoteAddr: "192.0.2.7:40000", localAddr: "192.0.2.1", secret: "s3cret",
		tls: &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}}
}

func TestEncodingATypicalRequestAllocatesNothing(t *testing.T) {
	r, f := typicalRequest()
	buf := make([]byte, 0, DefaultPacketSize)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		b, err := appendForwardRequest(buf, r, bodyNone, f, DefaultPacketSize)
		if err != nil || len(b) == 0 {
			t.Error(err)
		}
	}))
}

func BenchmarkEncodeRequest(b *testing.B) {
	r, f := typicalRequest()
	buf := make([]byte, 0, DefaultPacketSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := appendForwardRequest(buf, r, bodyNone, f, DefaultPacketSize); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeRequest(b *testing.B) {
	r, f := typicalRequest()
	p, _ := appendForwardRequest(nil, r, bodyNone, f, DefaultPacketSize)
	text := string(p[headSize+1:])
	b.ReportAllocs()
	for b.Loop() {
		var fr forwardRequest
		if err := parseForwardRequest(text, &fr); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeHead(b *testing.B) {
	p, _ := appendSendHeaders(nil, 200, http.Header{"Content-Type": {"text/html"}, "Content-Length": {"1024"}, "Set-Cookie": {"a=b"}}, DefaultPacketSize)
	text := string(p[headSize+1:])
	b.ReportAllocs()
	for b.Loop() {
		var h answerHead
		if err := parseSendHeaders(text, &h); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRoundTrip has both ends in one process.
func BenchmarkRoundTrip(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 10 << 20} {
		b.Run(strconv.Itoa(size>>10)+"KB", func(b *testing.B) {
			data := []byte(strings.Repeat("x", size))
			s := httptest.NewUnstartedServer(nil)
			server := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(data) })}
			done := make(chan error, 1)
			go func() { done <- server.Serve(s.Listener) }()
			defer func() {
				_ = server.Close()
				<-done
			}()
			tr := &Transport{}
			defer tr.CloseIdleConnections()
			r := httptest.NewRequest("GET", "ajp://"+s.Listener.Addr().String()+"/", nil)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				resp, err := tr.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					b.Fatal(err)
				}
				_ = resp.Body.Close()
			}
		})
	}
}
