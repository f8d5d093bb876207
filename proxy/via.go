package proxy

import (
	"net/http"
	"strconv"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// ViaMode says what becomes of the Via field (RFC 9110 section 7.6.3) in both
// directions. The name of this proxy in it is Handler.ServerName, and never
// what the client sent as Host. Where that is set and not added to Via, requests
// carry it in CDN-Loop, by which loops are found in any mode.
type ViaMode int

const (
	ViaAuto  ViaMode = iota // ViaOff in a Handler, ViaOn in a Forward
	ViaOff                  // leaves Via as it is
	ViaOn                   // adds this proxy
	ViaFull                 // adds this proxy with a comment that names the software
	ViaBlock                // removes Via from requests and leaves it in answers
)

// addVia refuses a request that was here before, and leaves this proxy's name
// in it: in Via if that is maintained, else in CDN-Loop.
func (p *passage) addVia() error {
	name := p.h.ServerName
	if name != "" && exchange.Passed(p.in.Header, name) {
		return &exchange.Error{Op: exchange.OpRequest, Status: http.StatusLoopDetected, Err: exchange.ErrLoop}
	}
	switch p.h.Via {
	case ViaOn, ViaFull:
		p.appendTo("Via", p.viaElement())
		return nil
	case ViaBlock:
		delete(p.out.Header, "Via")
	}
	p.appendTo("Cdn-Loop", name)
	return nil
}

// viaElement is what this proxy adds: the protocol of the client's request and
// its own name.
func (p *passage) viaElement() string {
	version := "1.1"
	if major, minor := p.in.ProtoMajor, p.in.ProtoMinor; major != 1 || minor != 1 {
		version = strconv.Itoa(major) + "." + strconv.Itoa(minor)
	}
	element := version + " " + p.h.serverName()
	if p.h.Via == ViaFull {
		element += " (modproxy)"
	}
	return element
}
