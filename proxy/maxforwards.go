package proxy

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/http1"
)

// limitForwards obeys Max-Forwards (RFC 9110 section 7.6.2): TRACE and OPTIONS
// that must not go further are answered here.
func (p *passage) limitForwards() (answered bool, err error) {
	values := p.in.Header["Max-Forwards"]
	if len(values) == 0 {
		return false, nil
	}
	n, err := strconv.ParseUint(values[0], 10, 31)
	if err != nil || len(values) > 1 {
		return false, exchange.BadRequest("Max-Forwards is no number")
	}
	if n > 0 {
		return false, nil
	}
	switch p.in.Method {
	case http.MethodOptions:
		p.w.Header().Set("Content-Length", "0")
		p.writeHead(http.StatusOK)
		return true, nil
	case http.MethodTrace:
		p.echo()
		return true, nil
	}
	return false, nil
}

// setMaxForwards counts the field down, or adds the handler's limit.
func (p *passage) setMaxForwards() {
	limit := p.h.MaxForwards
	if values := p.out.Header["Max-Forwards"]; len(values) > 0 {
		n, err := strconv.Atoi(values[0])
		if err != nil || n == 0 {
			return
		}
		limit = n - 1
	} else if limit <= 0 {
		return
	}
	p.set("Max-Forwards", strconv.Itoa(limit))
}

// echo answers TRACE with the request, without its credentials (RFC 9110
// section 9.3.8).
func (p *passage) echo() {
	b := fmt.Appendf(nil, "TRACE %s %s\r\nHost: %s\r\n", p.in.URL.RequestURI(), p.in.Proto, p.in.Host)
	for name, values := range p.in.Header {
		switch name {
		case "Authorization", "Cookie", "Proxy-Authorization":
			continue
		}
		for _, v := range values {
			b = http1.AppendField(b, name, v)
		}
	}
	p.w.Header().Set("Content-Type", "message/http")
	p.writeHead(http.StatusOK)
	n, _ := p.w.Write(append(b, "\r\n"...))
	p.record.ResponseBytes += int64(n)
}
