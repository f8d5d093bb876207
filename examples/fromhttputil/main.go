// Command fromhttputil shows a move from httputil.ReverseProxy in steps, each of
// which can go into service by itself and be taken back:
//
//	0  what there was: httputil.ReverseProxy with a Rewrite function
//	1  the same, over our Transport: its pool, its limits, its figures
//	2  our Handler, with the Rewrite function, ModifyResponse and ErrorHandler as they are
//	3  our Handler, with what it can do by itself in place of the functions
//
//	go run ./examples/fromhttputil -step 2 -to http://127.0.0.1:9001/app/
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	to := flag.String("to", "http://127.0.0.1:9001/app/", "where requests go")
	step := flag.Int("step", 0, "how far the move has come: 0 to 3")
	flag.Parse()
	target, err := url.Parse(*to)
	if err == nil {
		server := &http.Server{Addr: *listen, Handler: site(*step, target), ReadHeaderTimeout: 10 * time.Second}
		slog.Info("listening", "url", "http://"+*listen+"/", "step", *step)
		err = server.ListenAndServe()
	}
	slog.Error("cannot serve", "error", err)
	os.Exit(1)
}

func site(step int, target *url.URL) http.Handler {
	rewrite := func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.SetXForwarded()
	}
	hide := func(resp *http.Response) error {
		resp.Header.Del("Server")
		return nil
	}
	fail := func(w http.ResponseWriter, r *http.Request, err error) {
		slog.Error("proxy", "path", r.URL.Path, "error", err)
		// Of a foreign error StatusOf knows no more than 502, as before. A
		// *exchange.Error says which phase failed, and who is to blame.
		http.Error(w, "try again later", exchange.StatusOf(err))
	}
	switch step {
	case 0:
		return &httputil.ReverseProxy{Rewrite: rewrite, ModifyResponse: hide, ErrorHandler: fail}
	case 1:
		return &httputil.ReverseProxy{Rewrite: rewrite, ModifyResponse: hide, ErrorHandler: fail, Transport: &proxy.Transport{}}
	case 2:
		return &proxy.Handler{Rewrite: rewrite, ModifyResponse: hide, ErrorHandler: fail}
	case 3:
		return &proxy.Handler{ // sets X-Forwarded-For, -Host and -Proto by itself
			Target: target, ModifyResponse: hide, ErrorHandler: fail, Logger: slog.Default(),
			OnRecord: func(r *http.Request, rec *exchange.Record) { slog.Info("request", "path", r.URL.Path, "result", rec) },
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, fmt.Sprintf("there is no step %d", step), http.StatusNotImplemented)
	})
}
