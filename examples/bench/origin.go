package main

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

const (
	maxOriginBytes = 64 << 20
	sinkAnswer     = "taken\n"
)

// newOrigin answers /bytes/N with N bytes, /cacheable/N with N that are fresh
// for an hour, and takes what /sink is sent.
func newOrigin() http.Handler {
	mux := http.NewServeMux()
	data := bytes.Repeat([]byte("modproxy "), maxOriginBytes/9+1)
	send := func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.PathValue("n"))
		if err != nil || n < 0 || n > maxOriginBytes {
			http.Error(w, "no such number of bytes", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(n))
		_, _ = w.Write(data[:n])
	}
	mux.HandleFunc("GET /bytes/{n}", send)
	mux.HandleFunc("GET /cacheable/{n}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=3600")
		w.Header().Set("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
		send(w, r)
	})
	mux.HandleFunc("POST /sink", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, sinkAnswer)
	})
	return mux
}
