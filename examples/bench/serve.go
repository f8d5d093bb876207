package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"runtime/pprof"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/proxy"
)

// serve is the part of the program that the measured processes run: "serve
// origin", "serve modproxy" and so on.
func serve(ctx context.Context, args []string, stderr io.Writer) int {
	if err := serveRole(ctx, args, stderr); err != nil {
		fmt.Fprintln(stderr, "bench serve:", err)
		return 1
	}
	return 0
}

func serveRole(ctx context.Context, args []string, stderr io.Writer) error {
	if len(args) == 0 {
		return errors.New("want a role, such as origin or modproxy")
	}
	f := flag.NewFlagSet("bench serve "+args[0], flag.ContinueOnError)
	f.SetOutput(stderr)
	listen := f.String("listen", "127.0.0.1:0", "address to listen on")
	to := f.String("to", "", "URL of the origin")
	profile := f.String("cpuprofile", "", "file for a CPU profile")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "ajporigin":
		return serveAJP(ctx, *listen)
	}
	h, err := newRole(args[0], *to)
	if err != nil {
		return err
	}
	if *profile != "" {
		file, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	server := &http.Server{Addr: *listen, Handler: h}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func newRole(role, to string) (http.Handler, error) {
	switch role {
	case "origin":
		return newOrigin(), nil
	case "modproxy":
		return proxy.NewHandler("/", to)
	case "balancer":
		return newBalancer(to)
	case "fcgi":
		return newFCGI(to)
	case "ftp", "ftp-login":
		return newFTP(to, role == "ftp")
	case "httputil":
		return newHTTPUtil(to, nil)
	case "httputil-tuned":
		return newHTTPUtil(to, &http.Transport{MaxIdleConnsPerHost: maxConnections, DisableCompression: true})
	case "cache-memory", "cache-disk":
		return newCache(to, role == "cache-disk")
	case "connect":
		return newConnect(), nil
	case "plainconnect":
		return newPlainConnect(), nil
	case "wsorigin":
		return newWSOrigin(), nil
	case "wstunnel":
		return newWSTunnel(to)
	case "upgrades":
		return newUpgrades(to)
	case "ajp":
		return ajp.NewHandler("/", to)
	}
	return nil, fmt.Errorf("unknown role %q", role)
}

// newHTTPUtil is the standard library's proxy on a transport; nil is its
// default.
func newHTTPUtil(to string, t http.RoundTripper) (http.Handler, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.SetXForwarded()
		},
		Transport: t,
	}, nil
}
