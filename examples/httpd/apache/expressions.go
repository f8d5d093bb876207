package apache

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/expr"
	"github.com/modproxy/modproxy/proxy/backend"
)

// condition is an expression of httpd about a request, as <If>, Require expr and
// others have it.
type condition struct{ *expr.Expr }

func parseCondition(text string) (*condition, error) {
	e, err := expr.Parse(text, knownOfRequest)
	if err != nil {
		return nil, err
	}
	return &condition{e}, nil
}

// holds reports whether the condition holds for a request.
func (c *condition) holds(v *visit, r *http.Request) bool { return c.Eval(v.deciding(r)) }

// phrase is text with variables of httpd's expressions in it.
type phrase struct{ *expr.Text }

func parsePhrase(text string) (*phrase, error) {
	t, err := expr.ParseText(text, knownOfRequest)
	if err != nil {
		return nil, err
	}
	return &phrase{t}, nil
}

// of returns the text for a request.
func (p *phrase) of(v *visit, r *http.Request) string { return p.Eval(v.lookup(r)) }

// knownOfRequest says which variables and functions there are.
func knownOfRequest(function, name string) bool {
	switch function {
	case "":
		name = strings.ToUpper(name)
		return requestVariables[name] != nil || strings.HasPrefix(name, "SSL_") || strings.HasPrefix(name, "TIME") && timeVariable(name, time.Time{}) != ""
	case "http", "req", "req_novary", "resp", "note", "env", "reqenv", "ssl", "-U", "-A", "-F":
		return true
	}
	return false
}

// lookup is what expressions know of a request, and of its answer once there is
// one.
func (v *visit) lookup(r *http.Request) expr.Lookup {
	return func(function, name string) string {
		switch function {
		case "":
			return v.variable(r, name)
		case "http", "req", "req_novary":
			return requestField(r, name)
		case "resp":
			if values := v.answer[http.CanonicalHeaderKey(name)]; len(values) > 0 {
				return values[0]
			}
		case "note":
			return v.notes[name]
		case "reqenv":
			return v.env[name]
		case "-U", "-A", "-F":
			if v.reaches(r, name, function == "-F") {
				return "yes"
			}
		case "env":
			for _, env := range []environment{v.notes, v.env} {
				if value, ok := env[name]; ok {
					return value
				}
			}
			return os.Getenv(name)
		case "ssl":
			value, _ := sslVariable(r, name)
			return value
		}
		return ""
	}
}

// requestField returns a field of a request, of which net/http keeps some elsewhere.
func requestField(r *http.Request, name string) string {
	name = http.CanonicalHeaderKey(name)
	switch {
	case name == "Host":
		return r.Host
	case name == "Content-Length" && r.ContentLength > 0:
		return strconv.FormatInt(r.ContentLength, 10)
	case name == "Transfer-Encoding":
		return strings.Join(r.TransferEncoding, ", ")
	}
	return strings.Join(r.Header[name], ", ")
}

// variable returns a variable by its name, of which letters are alike but in those
// of TLS.
func (v *visit) variable(r *http.Request, name string) string {
	upper := strings.ToUpper(name)
	if read := requestVariables[upper]; read != nil {
		return read(v, r)
	}
	if strings.HasPrefix(upper, "TIME") {
		return timeVariable(upper, time.Now())
	}
	value, _ := sslVariable(r, name)
	return value
}

// timeVariable returns one of TIME and TIME_YEAR to TIME_WDAY; nothing for
// another name.
func timeVariable(name string, now time.Time) string {
	layout := map[string]string{
		"TIME": "20060102150405", "TIME_YEAR": "2006", "TIME_MON": "01", "TIME_DAY": "02", "TIME_HOUR": "15", "TIME_MIN": "04", "TIME_SEC": "05",
	}[name]
	if name == "TIME_WDAY" {
		return strconv.Itoa(int(now.Weekday()))
	}
	return now.Format(layout)
}

// requestVariables are httpd's but for the time and those of TLS.
var requestVariables = map[string]func(v *visit, r *http.Request) string{
	"HTTP_ACCEPT":           ofField("Accept"),
	"HTTP_COOKIE":           ofField("Cookie"),
	"HTTP_FORWARDED":        ofField("Forwarded"),
	"HTTP_HOST":             ofField("Host"),
	"HTTP_PROXY_CONNECTION": ofField("Proxy-Connection"),
	"HTTP_REFERER":          ofField("Referer"),
	"HTTP_USER_AGENT":       ofField("User-Agent"),

	"REQUEST_METHOD": func(_ *visit, r *http.Request) string { return r.Method },
	"REQUEST_SCHEME": func(v *visit, r *http.Request) string { return v.host.schemeOf(r) },
	"REQUEST_URI":    func(v *visit, _ *http.Request) string { return v.path },
	"DOCUMENT_URI":   func(v *visit, _ *http.Request) string { return v.path },
	"THE_REQUEST": func(v *visit, r *http.Request) string {
		r = v.original(r)
		return r.Method + " " + r.RequestURI + " " + r.Proto
	},
	"REQUEST_STATUS": func(v *visit, _ *http.Request) string {
		if v.status != 0 {
			return strconv.Itoa(v.status)
		}
		return "200" // until something says otherwise
	},
	"REQUEST_FILENAME": func(v *visit, r *http.Request) string { return v.filename(r) },
	"SCRIPT_FILENAME":  func(v *visit, r *http.Request) string { return v.filename(r) },
	"QUERY_STRING":     func(_ *visit, r *http.Request) string { return r.URL.RawQuery },
	"PATH_INFO":        func(v *visit, _ *http.Request) string { return v.found.disk.Extra },
	"IS_SUBREQ":        func(v *visit, _ *http.Request) string { return strconv.FormatBool(v.subrequests > 0) },
	"HANDLER": func(v *visit, _ *http.Request) string {
		if v.found.rule != nil {
			return "proxy-server"
		}
		return ""
	},
	"CONTENT_TYPE":  func(v *visit, _ *http.Request) string { return v.answer.Get("Content-Type") },
	"LAST_MODIFIED": nothing,

	"DOCUMENT_ROOT":         func(v *visit, _ *http.Request) string { return v.host.documents() },
	"CONTEXT_DOCUMENT_ROOT": func(v *visit, _ *http.Request) string { return cmp.Or(v.found.context, v.host.documents()) },
	"CONTEXT_PREFIX":        func(v *visit, _ *http.Request) string { return v.found.prefix },
	"SCRIPT_USER":           nothing, // who owns a file is not told
	"SCRIPT_GROUP":          nothing,

	"REMOTE_ADDR":      func(_ *visit, r *http.Request) string { return hostOf(r.RemoteAddr) },
	"REMOTE_HOST":      func(_ *visit, r *http.Request) string { return hostOf(r.RemoteAddr) }, // as with HostnameLookups Off
	"REMOTE_PORT":      func(_ *visit, r *http.Request) string { _, port, _ := net.SplitHostPort(r.RemoteAddr); return port },
	"REMOTE_IDENT":     nothing,
	"REMOTE_USER":      func(v *visit, _ *http.Request) string { return v.user },
	"CONN_REMOTE_ADDR": func(v *visit, r *http.Request) string { return hostOf(v.original(r).RemoteAddr) },
	"AUTH_TYPE": func(v *visit, _ *http.Request) string {
		if v.user == "" {
			return ""
		}
		return v.served.auth.typeName()
	},

	"SERVER_NAME":     func(v *visit, r *http.Request) string { return v.serverName(r) },
	"SERVER_PORT":     func(v *visit, r *http.Request) string { return v.serverPort(r) },
	"SERVER_ADDR":     func(_ *visit, r *http.Request) string { return hostOf(localAddr(r)) },
	"SERVER_PROTOCOL": func(_ *visit, r *http.Request) string { return r.Proto },
	"SERVER_ADMIN":    func(*visit, *http.Request) string { return "[no address given]" },
	"SERVER_SOFTWARE": func(*visit, *http.Request) string { return "modproxy-httpd" },
	"API_VERSION":     func(*visit, *http.Request) string { return "20120211" }, // of all of 2.4

	"HTTPS": func(_ *visit, r *http.Request) string { return onOffWord(r.TLS != nil) }, // of the connection
	"HTTP2": func(_ *visit, r *http.Request) string { return onOffWord(r.ProtoMajor == 2) },
	"IPV6": func(v *visit, r *http.Request) string {
		a, err := netip.ParseAddr(hostOf(v.original(r).RemoteAddr))
		return onOffWord(err == nil && a.Is6() && !a.Is4In6())
	},
	"REQUEST_LOG_ID": nothing, // lines of the error log have no numbers
	"CONN_LOG_ID":    nothing,
}

func nothing(*visit, *http.Request) string { return "" }

func ofField(name string) func(*visit, *http.Request) string {
	return func(_ *visit, r *http.Request) string { return requestField(r, name) }
}

func onOffWord(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// filename is where translation has led the request: to a file, or to a URL.
func (v *visit) filename(r *http.Request) string {
	ru := v.found.rule
	if ru == nil {
		return v.found.name()
	}
	out, ok := ru.backendURL(v, r.URL)
	if !ok {
		return ""
	}
	return "proxy:" + strings.TrimSuffix(ru.target, ru.text) + fmt.Sprintf("%s://%s%s", out.Scheme, out.Host, out.Path)
}

// serverPort is the port by which a client knows the server: that of Host or, with
// UseCanonicalName On, that of the host; else that of the scheme.
func (v *visit) serverPort(r *http.Request) string {
	if _, port, err := net.SplitHostPort(r.Host); err == nil && port != "" && !said(v.settings().canonicalName, false) {
		return port
	}
	return cmp.Or(v.host.port(), backend.DefaultPort(v.host.schemeOf(r)))
}
