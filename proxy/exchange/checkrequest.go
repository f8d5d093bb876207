package exchange

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// CheckRequest refuses a request that no protocol can carry, or that a backend
// could read in two ways: for its method, Host, query, fields or trailer fields. A
// transport asks it before it takes a connection. Errors
// are a [*Error] with status 400.
func CheckRequest(r *http.Request) error {
	if err := checkRequest(r); err != nil {
		return BadRequest("%w", err)
	}
	return nil
}

func checkRequest(r *http.Request) error {
	if r.URL == nil {
		return errors.New("request has no URL")
	}
	if r.Method != "" && !syntax.IsToken(r.Method) {
		return errors.New("method is no token")
	}
	if _, err := OutgoingHost(r); err != nil {
		return err
	}
	if syntax.HasBlankOrControl(r.URL.RawQuery) || syntax.HasBlankOrControl(r.URL.Opaque) {
		return errors.New("target has blanks or control bytes")
	}
	for name, values := range r.Header {
		if err := checkField(name, values); err != nil {
			return err
		}
	}
	for name, values := range r.Trailer {
		switch http.CanonicalHeaderKey(name) {
		case "Transfer-Encoding", "Content-Length", "Trailer":
			return fmt.Errorf("field %s is no trailer", name)
		}
		if err := checkField(name, values); err != nil {
			return err
		}
	}
	return nil
}

// checkField refuses a field that could be read in two ways by the backend.
func checkField(name string, values []string) error {
	if !syntax.IsToken(name) {
		return errors.New("field name is no token")
	}
	if FramesInDisguise(name) && http.CanonicalHeaderKey(name) != name {
		return fmt.Errorf("field %s is not in canonical form", name)
	}
	for _, v := range values {
		if !syntax.ValidValue(v) {
			return fmt.Errorf("value of field %s has control bytes", name)
		}
	}
	return nil
}
