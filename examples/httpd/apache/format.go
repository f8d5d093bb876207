package apache

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// format is the value of a Header directive: text with what differs from
// request to request.
type format struct {
	items []func(v *visit, r *http.Request) string
}

// of returns the value for a request.
func (f *format) of(v *visit, r *http.Request) string {
	var s string
	if len(f.items) == 1 {
		s = f.items[0](v, r)
	} else {
		var b strings.Builder
		for _, item := range f.items {
			b.WriteString(item(v, r))
		}
		s = b.String()
	}
	return fieldValue(s)
}

// fieldValue returns what may stand in a field: a blank for all else.
func fieldValue(s string) string {
	if httpguts.ValidHeaderFieldValue(s) {
		return s
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' && c != '\t' || c == 0x7f {
			return ' '
		}
		return c
	}, s)
}

func (f *format) text(s string) {
	if s != "" {
		f.items = append(f.items, func(*visit, *http.Request) string { return s })
	}
}

// parseFormat reads a value of Header: %t, %D, %l, %{NAME}e, %{NAME}s, %%, and
// backslashes before r, n, t and themselves; or an expression "expr=…" of text and
// variables.
func parseFormat(text string) (*format, error) {
	f := &format{}
	if text, ok := strings.CutPrefix(text, "expr="); ok {
		p, err := parsePhrase(text)
		if err != nil {
			return nil, err
		}
		f.items = append(f.items, p.of)
		return f, nil
	}
	for rest := text; ; {
		before, after, found := strings.Cut(rest, "%")
		f.text(unescape.Replace(before))
		if !found {
			return f, nil
		}
		if after == "" || after[0] == '%' { // one at the end is itself
			f.text("%")
			rest = strings.TrimPrefix(after, "%")
			continue
		}
		name := ""
		if after[0] == '{' {
			var ok bool
			if name, after, ok = strings.Cut(after[1:], "}"); !ok || after == "" {
				return nil, fmt.Errorf("%q: want } and e or s", text)
			}
		}
		item, err := formatItem(after[0], name)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		f.items = append(f.items, item)
		rest = after[1:]
	}
}

var unescape = strings.NewReplacer(`\\`, `\`, `\r`, "\r", `\n`, "\n", `\t`, "\t")

// formatItem returns what %{name}letter stands for.
func formatItem(letter byte, name string) (func(v *visit, r *http.Request) string, error) {
	switch letter {
	case 't':
		return func(v *visit, _ *http.Request) string { return "t=" + strconv.FormatInt(v.began.UnixMicro(), 10) }, nil
	case 'D':
		return func(v *visit, _ *http.Request) string {
			return "D=" + strconv.FormatInt(time.Since(v.began).Microseconds(), 10)
		}, nil
	case 'l':
		return func(*visit, *http.Request) string { return "l=" + loadAverage() }, nil
	case 'i', 'b':
		return nil, fmt.Errorf("%%%c counts idle and busy workers, and there are none", letter)
	case 'e':
		return func(v *visit, _ *http.Request) string {
			if value, ok := v.env[name]; ok {
				return value
			}
			return "(null)"
		}, nil
	case 's':
		return func(v *visit, r *http.Request) string {
			return cmp.Or(connectionVariable(v, r, name), "(null)")
		}, nil
	}
	return nil, fmt.Errorf("%%%c is not known: %%t, %%D, %%l, %%{NAME}e and %%{NAME}s are", letter)
}

// loadAverage is that of the machine, where it tells.
func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	if words := strings.Fields(string(b)); len(words) > 3 {
		return strings.Join(words[:3], " ")
	}
	return "0.00 0.00 0.00"
}

// connectionVariable is a variable as %{NAME}s has it: those of TLS, and what
// mod_ssl knows of requests beside them.
func connectionVariable(v *visit, r *http.Request, name string) string {
	if name, ok := strings.CutPrefix(name, "ENV:"); ok {
		return v.env[name]
	}
	return v.variable(r, name)
}

// schemeOf is the scheme by which clients know the host: that of ServerName, if it
// says https, or else the connection's.
func (h *host) schemeOf(r *http.Request) string {
	if r.TLS != nil || h.canonical != nil && h.canonical.Scheme == "https" {
		return "https"
	}
	return "http"
}

// serverName is the name of the server in a request, in lower case and without a dot
// at its end: that of Host or, without one and with UseCanonicalName On, that of
// ServerName.
func (v *visit) serverName(r *http.Request) string {
	host := r.Host
	if v.host.canonical != nil && (host == "" || said(v.settings().canonicalName, false)) {
		host = v.host.canonical.Host
	}
	name, _, _ := exchange.ParseHost(host)
	return strings.TrimSuffix(strings.ToLower(name), ".")
}

// settings are those of the sections that apply, or of the host until they are known.
func (v *visit) settings() *settings {
	if v.served != nil {
		return &v.served.settings
	}
	return &v.host.settings
}
