package apache

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/files"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// destination is where a request leads. At most one of rule and file is set; with
// neither, only the handlers of sections can answer.
type destination struct {
	rule *rule  // the ProxyPass that takes it
	file string // where it is on disk, be there anything or not

	root            string // a folder that it is in: DocumentRoot, or what an Alias leads to
	prefix, context string // of an Alias: its path, and root
	scripts         bool   // ScriptAlias
	disk            files.Found

	encoded *url.URL // with slashes that AllowEncodedSlashes has decoded; nil without

	to       *url.URL // of a rule of [P], where the request is sent
	location string   // of a code that is a redirect
}

// name is where the file is on disk, without what follows it in the path; that of a
// folder ends as the path does.
func (d *destination) name() string {
	switch {
	case d.disk.Name == "":
		return d.file // nobody has looked yet
	case d.disk.IsDir() && strings.HasSuffix(d.file, "/") && !strings.HasSuffix(d.disk.Name, "/"):
		return d.disk.Name + "/"
	}
	return d.disk.Name
}

// translator finds the destination of a request, puts it into visit.found and
// returns true, or leaves that to the next one. The request that it returns, the
// same or another, is what the next one gets. A code above 0 is an error.
type translator func(v *visit, r *http.Request) (out *http.Request, found bool, code int)

// translate finds out where a request leads, by the first that knows, in httpd's
// order: rules with mapping=, which see the path as it came; then, with encoded
// slashes refused or decoded, the rules of ProxyPass and the files.
func (h *host) translate(r *http.Request) (*http.Request, int) {
	v := visitOf(r)
	v.found = destination{}
	for _, t := range []translator{h.byMappedRules, h.decodeSlashes, h.byRewriting, h.byRules, h.byRedirects, h.byAliases, h.byDocumentRoot} {
		out, found, code := t(v, r)
		if r = out; found || code != 0 {
			return r, code
		}
	}
	return r, 0
}

// byMappedRules looks for a ProxyPass with mapping=.
func (h *host) byMappedRules(v *visit, r *http.Request) (*http.Request, bool, int) {
	if !h.mapped {
		return r, false, 0
	}
	ru := h.pick(r, true)
	if ru != nil && ru.params.pathMapping() == proxy.MappingServlet {
		// The backend sees no parameters in the path, so neither do sections.
		at, err := readServletPath(r.URL)
		if err != nil {
			return r, false, http.StatusBadRequest
		}
		v.path = at
	}
	return r, v.takes(ru), 0
}

// decodeSlashes obeys AllowEncodedSlashes.
func (h *host) decodeSlashes(v *visit, r *http.Request) (*http.Request, bool, int) {
	if !hasEncodedSlash(r.URL) {
		return r, false, 0
	}
	switch said(h.settings.encodedSlashes, slashesRefused) {
	case slashesRefused:
		return r, false, http.StatusNotFound
	case slashesDecoded:
		again := *r
		u := *r.URL
		v.found.encoded = r.URL
		u.RawPath = strings.NewReplacer("%2F", "/", "%2f", "/").Replace(u.RawPath)
		again.URL = &u
		at, err := readPath(&u)
		if err != nil {
			return r, false, http.StatusBadRequest
		}
		v.path, r = at, &again
	}
	return r, false, 0
}

// byRules looks for a ProxyPass.
func (h *host) byRules(v *visit, r *http.Request) (*http.Request, bool, int) {
	ru := h.pick(r, false)
	if !v.takes(ru) {
		return r, false, 0
	}
	if u := v.found.encoded; ru.params.nocanon && u != nil && u.Path == r.URL.Path && u.RawQuery == r.URL.RawQuery && strings.HasPrefix(u.RawPath, ru.path) {
		out := *r
		out.URL = u // the backend gets what the client wrote
		r = &out
	}
	if !ru.dynamic {
		return r, true, 0
	}
	code := h.leadByMatch(v, r, ru)
	return r, code == 0, code
}

// takes makes a rule the destination, unless it is none or nothing is to be proxied.
func (v *visit) takes(ru *rule) bool {
	if _, off := v.env["no-proxy"]; off || ru == nil || ru.target == "!" {
		return false
	}
	v.found.rule = ru
	return true
}

// byDocumentRoot leads what nothing else takes to a file.
func (h *host) byDocumentRoot(v *visit, r *http.Request) (*http.Request, bool, int) {
	v.found.root = h.documents()
	v.found.file = strings.TrimSuffix(v.found.root, "/") + v.path
	return r, true, 0
}

// documents is the DocumentRoot.
func (h *host) documents() string {
	return cmp.Or(h.settings.documentRoot, h.opt.file("htdocs"))
}

// pick returns the rule that takes a request, "!" included: that of the last
// <Location> that fits and has one, or the first of the list. Rules with mapping=
// have a turn of their own.
func (h *host) pick(r *http.Request, mapped bool) (chosen *rule) {
	at := visitOf(r).path
	for _, l := range h.locations {
		if n := len(l.rules); n > 0 && l.rules[n-1].params.mapped == mapped && l.contains(at) {
			chosen = l.rules[n-1]
		}
	}
	if chosen != nil {
		h.trace(r, chosen, at, true)
		return chosen
	}
	for _, ru := range h.rules {
		if ru.params.mapped != mapped {
			continue
		}
		fits := ru.takes(r, at)
		h.trace(r, ru, at, fits)
		if fits {
			return ru
		}
	}
	return nil
}

// trace logs that a rule was tried, as httpd does.
func (h *host) trace(r *http.Request, ru *rule, at string, fits bool) {
	if !h.logger.Enabled(r.Context(), exchange.LevelTrace1) {
		return
	}
	h.logger.Log(r.Context(), exchange.LevelTrace2, "proxy: rule tried", "path", at, "rule", ru.path, "target", ru.target, "fits", fits)
	if fits {
		h.logger.Log(r.Context(), exchange.LevelTrace1, "proxy: rule fits", "path", at, "rule", ru.path, "target", ru.target)
	}
}
