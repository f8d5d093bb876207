package apache

import (
	"cmp"
	"net/http"
	"net/url"
	"strconv"
)

// maxInternalRedirects is how often a request may be led elsewhere; httpd's
// LimitInternalRecursion has the same default.
const maxInternalRedirects = 10

// again serves a request anew, as one for another path and query: an internal
// redirect. The variables of before are those of REDIRECT_NAME, as in httpd.
func (h *host) again(w http.ResponseWriter, r *http.Request, to *url.URL) {
	v := visitOf(r)
	v.stepAside()
	if v.redirects++; v.redirects > maxInternalRedirects {
		h.logger.Error("too many internal redirects", "path", v.path, "to", to.Path)
		h.fail(w, r, h.base, http.StatusInternalServerError)
		return
	}
	status := http.StatusOK
	if v.page != 0 {
		status = v.page
	}
	v.leave(r, status)
	out := *r
	out.URL = to // RequestURI is what the client has asked for
	h.route(w, &out)
}

// leave makes the variables those of a request that was led elsewhere.
func (v *visit) leave(r *http.Request, status int) {
	before := v.env
	v.env = nil
	for name, value := range before {
		v.set("REDIRECT_"+name, value)
	}
	v.set("REDIRECT_STATUS", strconv.Itoa(status))
	v.set("REDIRECT_URL", cmp.Or(v.path, r.URL.Path))
	if r.URL.RawQuery != "" {
		v.set("REDIRECT_QUERY_STRING", r.URL.RawQuery)
	}
}
