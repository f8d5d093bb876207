// Package cgi is what the protocols of this folder have in common: they tell an
// application of a request by the variables of CGI, RFC 3875.
//
//	request ─► ReadBody ─► Gateway ─► Params ─► the protocol's own bytes
//	answer  ─► HeadScanner ─► ParseHead ─► http.Response
package cgi
