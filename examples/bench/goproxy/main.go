// Command modproxy-bench-goproxy is a forward proxy with elazarl/goproxy, for
// the workloads connect of the program above this folder:
//
//	go install . && go run -C ../../.. ./examples/bench -workload connect10m
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/elazarl/goproxy"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("want an address to listen on")
	}
	log.Fatal(http.ListenAndServe(os.Args[1], goproxy.NewProxyHttpServer()))
}
