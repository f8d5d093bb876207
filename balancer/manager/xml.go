package manager

import (
	"encoding/xml"
	"net/http"
	"net/url"
)

// The XML of Apache's balancer-manager, with the figures that there are here.
type xmlManager struct {
	XMLName   xml.Name      `xml:"httpd:manager"`
	Namespace string        `xml:"xmlns:httpd,attr"`
	Balancers []xmlBalancer `xml:"httpd:balancers>httpd:balancer"`
}

type xmlBalancer struct {
	Name          string      `xml:"httpd:name"`
	Nonce         string      `xml:"httpd:nonce,omitempty"`
	StickySession string      `xml:"httpd:stickysession,omitempty"`
	NoFailover    string      `xml:"httpd:nofailover"`
	Timeout       float64     `xml:"httpd:timeout"` // in seconds
	MaxAttempts   int         `xml:"httpd:maxattempts"`
	Method        string      `xml:"httpd:lbmethod"`
	Workers       []xmlWorker `xml:"httpd:workers>httpd:worker"`
}

type xmlWorker struct {
	Name        string  `xml:"httpd:name"`
	Scheme      string  `xml:"httpd:scheme"`
	Hostname    string  `xml:"httpd:hostname"`
	Port        string  `xml:"httpd:port,omitempty"`
	LoadFactor  float64 `xml:"httpd:loadfactor"`
	LBSet       int     `xml:"httpd:lbset"`
	Route       string  `xml:"httpd:route,omitempty"`
	Redirect    string  `xml:"httpd:redirect,omitempty"`
	Status      string  `xml:"httpd:status"`
	Elected     int64   `xml:"httpd:elected"`
	Busy        int64   `xml:"httpd:busy"`
	Load        int64   `xml:"httpd:lbstatus"`
	Transferred int64   `xml:"httpd:transferred"`
	Read        int64   `xml:"httpd:read"`
}

func (m *Handler) writeXML(w http.ResponseWriter) {
	doc := xmlManager{Namespace: "http://httpd.apache.org"}
	for _, b := range m.status().Balancers {
		x := xmlBalancer{
			Name: "balancer://" + b.Name, Nonce: b.Nonce, StickySession: b.Sticky, NoFailover: "Off",
			Timeout: b.Timeout.Seconds(), MaxAttempts: b.MaxAttempts, Method: b.Method,
		}
		if b.NoFailover {
			x.NoFailover = "On"
		}
		for _, s := range b.Members {
			one := xmlWorker{
				Name: s.Name, LoadFactor: s.Config.LoadFactor, LBSet: s.Config.LBSet, Route: s.Config.Route, Redirect: s.Config.Redirect, Status: s.Status,
				Elected: s.Elected, Busy: s.Busy, Load: s.Load, Transferred: s.Sent, Read: s.Received,
			}
			if u, err := url.Parse(s.URL); err == nil {
				one.Scheme, one.Hostname, one.Port = u.Scheme, u.Hostname(), u.Port()
			}
			x.Workers = append(x.Workers, one)
		}
		doc.Balancers = append(doc.Balancers, x)
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	_, _ = w.Write([]byte(xml.Header))
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	_ = e.Encode(doc)
}
