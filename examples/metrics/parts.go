package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

// parts are metrics that are read when Prometheus asks for them: nothing is
// counted twice.
type parts struct {
	transport *proxy.Transport
	balancer  *balancer.Balancer
	tunnels   *tunnel.Registry
}

func describe(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("proxy_"+name, help, []string{"kind", "name"}, nil)
}

// All parts count alike, so that one list serves for all.
var (
	elected  = describe("elected_total", "Requests, or tunnels, given to this part.")
	failures = describe("errors_total", "Failures that this part is to blame for.")
	busy     = describe("busy", "Requests, connections or tunnels in use now.")
	waiting  = describe("waiting", "Requests in line now.")
	sent     = describe("backend_sent_bytes_total", "Bytes toward backends.")
	received = describe("backend_received_bytes_total", "Bytes from backends.")
	usable   = describe("usable", "1 if requests are given to this part.")
	open     = describe("connections", "Connections that are open, in use or not.")
	latency  = describe("latency_seconds", "Moving average of the time to the head of an answer.")
)

func (p *parts) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(p, ch) }

func (p *parts) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, kind, name string, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, kind, name)
	}
	counts := func(kind, name string, c backend.Counts) {
		for d, v := range map[*prometheus.Desc]int64{elected: c.Elected, failures: c.Errors, sent: c.Sent, received: c.Received} {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), kind, name)
		}
		gauge(busy, kind, name, float64(c.Busy))
		gauge(waiting, kind, name, float64(c.Waiting))
	}
	for _, s := range p.transport.Stats() {
		counts("backend", s.Name, s.Counts)
		gauge(open, "backend", s.Name, float64(s.Open))
	}
	s := p.balancer.Stats()
	counts("balancer", s.Name, s.Counts)
	gauge(usable, "balancer", s.Name, float64(s.Usable))
	for _, m := range s.Members {
		counts("member", m.Name, m.Counts)
		gauge(usable, "member", m.Name, number(m.Usable))
		gauge(latency, "member", m.Name, m.Latency.Seconds())
	}
	t := p.tunnels.Stats()
	counts("tunnels", t.Name, t.Counts)
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
