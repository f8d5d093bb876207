package exchange

import "net/http"

// ForbiddenTrailer names the fields that must not stand in a trailer: those
// that frame or route the message, say who sends it, judge a request or
// describe the content (RFC 9110 section 6.5.1). Whoever merged them into the
// header would undo what was decided by it.
func ForbiddenTrailer(name string) bool {
	if len(name) > len("If-") && (name[0] == 'I' || name[0] == 'i') && (name[1] == 'F' || name[1] == 'f') && name[2] == '-' {
		return true
	}
	switch name = http.CanonicalHeaderKey(name); name {
	case "Transfer-Encoding", "Content-Length", "Trailer", "Host", "Connection", "Te", "Upgrade", "Keep-Alive", "Proxy-Connection", "Http2-Settings",
		"Via", "Max-Forwards", "Forwarded", "Expect", "Range",
		"Authorization", "Proxy-Authorization", "Www-Authenticate", "Proxy-Authenticate", "Cookie", "Set-Cookie",
		"Content-Type", "Content-Encoding", "Content-Range", "Content-Language", "Content-Location",
		"Cache-Control", "Pragma", "Age", "Expires", "Vary", "Location", "Retry-After", "Date", "Warning":
		return true
	}
	return IsForwardingField(name)
}
