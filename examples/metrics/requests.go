package main

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// observer makes metrics of the record of each request. Their labels are few and
// our own: nothing that a client can make up.
func observer(registry *prometheus.Registry) *proxy.Observer {
	in := promauto.With(registry)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return in.NewCounterVec(prometheus.CounterOpts{Name: "proxy_" + name + "_total", Help: help}, labels)
	}
	requests := counter("requests", "Requests that are done, by the status sent to the client (499: it left).", "status", "cache")
	bytes := counter("client_bytes", "Bytes of bodies received from and sent to clients.", "direction")
	failed := counter("failed_attempts", "Attempts that were followed by another.", "member")
	seconds := in.NewHistogramVec(prometheus.HistogramOpts{
		Name: "proxy_request_seconds", Help: "Wait in line, opening of a connection, time to the head of the answer, and to its end.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
	}, []string{"phase"})
	return &proxy.Observer{Done: func(_ *http.Request, rec *exchange.Record) {
		requests.WithLabelValues(strconv.Itoa(rec.Status), rec.Cache).Inc()
		bytes.WithLabelValues("received").Add(float64(rec.RequestBytes))
		bytes.WithLabelValues("sent").Add(float64(rec.ResponseBytes))
		seconds.WithLabelValues("total").Observe(rec.Duration.Seconds())
		if rec.BackendStatus != 0 {
			seconds.WithLabelValues("first-byte").Observe(rec.FirstByte.Seconds())
			seconds.WithLabelValues("acquire").Observe(rec.Acquire.Seconds())
		}
		if rec.Connect > 0 { // else a connection was open
			seconds.WithLabelValues("connect").Observe(rec.Connect.Seconds())
		}
		for _, a := range rec.Failed {
			failed.WithLabelValues(a.Member).Inc()
		}
	}}
}
