// Package http1 is the wire format of HTTP/1.1 (RFC 9112): heads of requests and
// answers, framing, chunks and trailers. It reads nothing in two ways: what could
// be is an error.
package http1
