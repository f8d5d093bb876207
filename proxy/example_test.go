package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// newApp is a backend that tells what it was sent.
func newApp() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/old") {
			http.Redirect(w, r, "http://"+r.Host+"/v1/new", http.StatusFound)
			return
		}
		fmt.Fprintf(w, "%s for %s", r.RequestURI, r.Header.Get("X-Forwarded-For"))
	}))
}

// serve sends one request through a handler.
func serve(h http.Handler, target string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", target, nil)
	r.RemoteAddr = "192.0.2.7:4711"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// ProxyPass and ProxyPassReverse.
func ExampleNewHandler() {
	app := newApp()
	defer app.Close()

	h, err := proxy.NewHandler("/app/", app.URL+"/v1/")
	if err != nil {
		fmt.Println(err)
		return
	}
	h.Reverse = []proxy.ReverseRule{{Path: "/app/", URL: app.URL + "/v1/"}}

	fmt.Println(serve(h, "/app/a%20b?q=1").Body)
	fmt.Println(serve(h, "http://front.example/app/old").Header().Get("Location"))
	// Output:
	// /v1/a%20b?q=1 for 192.0.2.7
	// http://front.example/app/new
}

// A Rewrite function written for httputil.ReverseProxy works as it is.
func ExampleHandler_Rewrite() {
	app := newApp()
	defer app.Close()
	target, _ := url.Parse(app.URL)

	h := &proxy.Handler{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		},
	}
	fmt.Println(serve(h, "/hello").Body)
	// Output: /hello for 192.0.2.7
}

// ProxyPassMatch.
func ExampleNewMatchHandler() {
	app := newApp()
	defer app.Close()

	h, err := proxy.NewMatchHandler(`^/img/(.*)\.png$`, app.URL+"/pictures/$1")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(serve(h, "/img/cat.png").Body)
	fmt.Println(serve(h, "/img/cat.gif").Code)
	// Output:
	// /pictures/cat for 192.0.2.7
	// 404
}

// The transport under a plain http.Client, with a backend of its own.
func ExampleTransport() {
	app := newApp()
	defer app.Close()

	b, err := backend.Parse(app.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	b.MaxConns, b.AcquireTimeout, b.Timeout = 10, time.Second, 5*time.Second
	client := &http.Client{Transport: &proxy.Transport{Backend: b}}
	resp, err := client.Get("http://any.name/x")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	_, _ = io.Copy(os.Stdout, resp.Body)
	// Output: /x for
}

// One record for each request, for metrics or a log of one's own.
func ExampleHandler_OnRecord() {
	app := newApp()
	defer app.Close()

	h, _ := proxy.NewHandler("/", app.URL)
	h.OnRecord = func(r *http.Request, rec *exchange.Record) {
		fmt.Println(r.URL.Path, rec.Status, rec.Attempts, rec.Reused, rec.Err)
	}
	serve(h, "/a")
	serve(h, "/b")
	// Output:
	// /a 200 1 false <nil>
	// /b 200 1 true <nil>
}

// An expression that is used for its own handler.
func ExampleMux_HandleMatch() {
	mux := &proxy.Mux{}
	mux.HandleMatch(regexp.MustCompile(`\.php$`), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "a script")
	}))
	fmt.Println(serve(mux, "/x/y.php").Body, serve(mux, "/x/y.png").Code)
	// Output: a script 404
}

// A forward proxy whose users have accounts: ProxyRequests On, <Proxy *>
// AuthType Basic, AuthUserFile, Require valid-user </Proxy>.
func ExampleForward() {
	users, err := access.ReadHtpasswd(strings.NewReader("alice:$2y$05$4/iI97VcNWO9rTLBAOmmX.APUi0dEDnTd1q51PVeHQFK9kGZ44j8q\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println((&proxy.Forward{}).Validate())
	f := &proxy.Forward{Clients: &access.Clients{Auth: &access.BasicAuth{Realm: "office", Verify: users.Verify}}}
	fmt.Println(f.Validate())

	ask := func(credentials string) {
		r := httptest.NewRequest("GET", "http://127.0.0.1/admin", nil)
		if credentials != "" {
			r.Header.Set("Proxy-Authorization", "Basic "+credentials)
		}
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("Proxy-Authenticate"))
	}
	ask("")
	ask("YWxpY2U6b3BlbiBzZXNhbWU=") // alice may, but nobody may go there
	// Output:
	// proxy: forward: no rule says who may use the proxy
	// <nil>
	// 407 Basic realm="office", charset="UTF-8"
	// 403
}
