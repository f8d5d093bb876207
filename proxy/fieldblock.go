package proxy

import "net/http"

// ParseFields reads field lines that end in CRLF or LF, up to an empty line or
// the end of block, by the rules for HTTP/1 answers: what is refused there, is
// refused here, with an error that wraps [ErrMalformed]. It is for protocols
// that carry such lines, such as CGI.
func ParseFields(block string) (http.Header, error) { return parseFields(block, nil) }

// ParseContentLength returns the length that the values of Content-Length
// agree on; anything but one number is an error that wraps [ErrMalformed].
func ParseContentLength(values []string) (int64, error) { return contentLength(values) }
