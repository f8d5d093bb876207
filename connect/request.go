package connect

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// request returns the CONNECT for a destination.
func (d *Dialer) request(ctx context.Context, address string) ([]byte, error) {
	head := fmt.Appendf(nil, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n", address)
	for name, values := range d.Header {
		if http.CanonicalHeaderKey(name) != "Host" {
			head = appendField(head, name, values)
		}
	}
	if via, _ := ctx.Value(viaKey{}).(string); via != "" && d.Header["Via"] == nil {
		head = appendField(head, "Via", []string{via})
	}
	credentials, err := d.credentials(ctx, address)
	if err != nil {
		return nil, err
	}
	if credentials != "" {
		head = appendField(head, "Proxy-Authorization", []string{credentials})
	}
	return append(head, "\r\n"...), nil
}

func (d *Dialer) credentials(ctx context.Context, address string) (string, error) {
	if d.Authorize != nil {
		return d.Authorize(ctx, address)
	}
	if d.Proxy == nil || d.Proxy.User == nil {
		return "", nil
	}
	password, _ := d.Proxy.User.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(d.Proxy.User.Username()+":"+password)), nil
}

// appendField appends the lines of a field, without those that could be read
// in two ways.
func appendField(b []byte, name string, values []string) []byte {
	for _, v := range values {
		if httpguts.ValidHeaderFieldName(name) && httpguts.ValidHeaderFieldValue(v) {
			b = fmt.Appendf(b, "%s: %s\r\n", name, v)
		}
	}
	return b
}

// tunnels reports whether a request is none that a parent could answer itself.
func tunnels(r *http.Request) bool {
	switch strings.ToLower(r.URL.Scheme) {
	case "https", "ws", "wss", "h2", "h2c":
		return true
	}
	return len(r.Header["Upgrade"]) > 0
}

// absolute returns the request's URL up to the query.
func absolute(u *url.URL) string {
	path := u.Opaque
	if path == "" {
		path = u.EscapedPath()
	}
	if path == "*" { // OPTIONS for the origin as a whole
		path = ""
	}
	return u.Scheme + "://" + u.Host + path
}
