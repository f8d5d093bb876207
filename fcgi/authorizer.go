package fcgi

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// variablePrefix marks the fields of an authorizer's answer that are variables
// for whoever serves the request, FastCGI 1.0 section 6.3.
const variablePrefix = "Variable-"

var errNoAuthorizer = errors.New("fcgi: Authorizer has no URL")

// Authorizer asks a FastCGI application whether a request may be served. The
// application sees the request without its body.
type Authorizer struct {
	// URL names the authorizer, as in "fcgi://127.0.0.1:9000/srv/auth.php".
	// Its query is that of the client.
	URL *url.URL

	// Transport speaks to the application. If nil, one with default fields.
	Transport *Transport

	// ErrorHandler answers a request for which the application could not be
	// asked: it is never served. If nil, the answer is the status of
	// [exchange.StatusOf].
	ErrorHandler func(http.ResponseWriter, *http.Request, error)

	// Logger gets those failures at level Error. If nil, nothing is logged.
	Logger *slog.Logger
}

// NewAuthorizer returns an Authorizer that asks target: the URL of a script, such
// as "fcgi://127.0.0.1:9000/srv/auth.php" or
// "unix:/run/php/php-fpm.sock|fcgi://localhost/srv/auth.php". Apache:
// AuthnzFcgiDefineProvider.
func NewAuthorizer(target string) (*Authorizer, error) {
	b, err := backend.Parse(target)
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(b.URL.Scheme, "fcgi") {
		return nil, fmt.Errorf("fcgi: target %q: want a URL of the scheme fcgi", backend.RedactURL(target))
	}
	at := *b.URL
	b.IdleTTL = DefaultIdleTTL
	return &Authorizer{URL: &at, Transport: &Transport{Backend: b}}, nil
}

// Wrap returns a handler that serves with next the requests that the authorizer
// answers with 200; the answer to others is the authorizer's. The
// variables that the authorizer sets are sent to a FastCGI application behind
// next; others get them from [Variables].
func (a *Authorizer) Wrap(next http.Handler) http.Handler {
	t := a.Transport
	if t == nil {
		t = new(Transport)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.URL == nil {
			a.fail(w, r, &exchange.Error{Op: exchange.OpRequest, Status: http.StatusInternalServerError, Err: errNoAuthorizer})
			return
		}
		resp, err := t.roundTrip(a.question(r), roleAuthorizer)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		defer resp.Body.Close()
		vars := takeVariables(resp.Header)
		if resp.StatusCode != http.StatusOK {
			a.refuse(w, r, resp)
			return
		}
		if err := takeRest(resp.Body); err != nil {
			a.fail(w, r, err)
			return
		}
		r = r.WithContext(WithVariables(r.Context(), vars))
		if user := vars["REMOTE_USER"]; user != "" {
			r = access.WithUser(r, user, vars["AUTH_TYPE"])
		}
		next.ServeHTTP(w, r)
	})
}

// takeRest reads what comes behind the authorizer's word, which must not break
// off, so that the connection can be used again. What is much, or long in
// coming, is not waited for.
func takeRest(body io.ReadCloser) error {
	late := time.AfterFunc(lingerTime, func() { _ = body.Close() })
	_, err := io.CopyN(io.Discard, body, lingerLimit)
	if !late.Stop() || err == io.EOF {
		return nil
	}
	return err
}

const (
	lingerLimit = 64 << 10
	lingerTime  = time.Second
)

// question is the request as the authorizer gets it.
func (a *Authorizer) question(r *http.Request) *http.Request {
	out := r.WithContext(exchange.Beside(r.Context()))
	if !exchange.FactsOf(r, nil).Trusted {
		out.Header = maps.Clone(r.Header)
		maps.DeleteFunc(out.Header, func(name string, _ []string) bool { return exchange.IsForwardingField(name) })
	}
	at := *a.URL
	at.RawQuery = r.URL.RawQuery
	out.URL = &at
	out.Body, out.GetBody, out.ContentLength = http.NoBody, nil, 0
	if out.RequestURI == "" {
		out.RequestURI = r.URL.RequestURI()
	}
	return out
}

// takeVariables removes the variables from an answer's header, and returns them.
// A header does not keep the case of letters; variables are upper case.
func takeVariables(h http.Header) map[string]string {
	vars := make(map[string]string)
	for name, values := range h {
		if v, ok := strings.CutPrefix(name, variablePrefix); ok {
			vars[strings.ToUpper(v)] = values[0]
			delete(h, name)
		}
	}
	return vars
}

// refuse passes the authorizer's answer to the client.
func (a *Authorizer) refuse(w http.ResponseWriter, r *http.Request, resp *http.Response) {
	h := w.Header()
	for name, values := range resp.Header {
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Trailer", "Upgrade", "Content-Length":
		default:
			h[name] = values
		}
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		a.log(r, err)
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	}
}

// fail answers a request for which the authorizer gave no answer.
func (a *Authorizer) fail(w http.ResponseWriter, r *http.Request, err error) {
	a.log(r, err)
	exchange.AddErrorFields(w.Header(), err)
	if a.ErrorHandler != nil {
		a.ErrorHandler(w, r, err)
		return
	}
	status := exchange.StatusOf(err)
	if status == exchange.StatusClientClosedRequest {
		return
	}
	exchange.WriteErrorPage(w, r, status)
}

func (a *Authorizer) log(r *http.Request, err error) {
	if a.Logger != nil {
		a.Logger.Log(r.Context(), exchange.LevelOf(exchange.StatusOf(err)), "fcgi: authorizer", "path", r.URL.Path, "error", err)
	}
}
