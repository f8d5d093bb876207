package apache

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxInternalRedirects is how often a request may be led elsewhere; httpd's
// LimitInternalRecursion has the same default.
const maxInternalRedirects = 10

// again serves a request anew, as one for another path and query: an internal
// redirect. The variables of before are those of REDIRECT_NAME, as in httpd.
func (h *host) again(w http.ResponseWriter, r *http.Request, to *url.URL) {
	v := visitOf(r)
	if v.redirects++; v.redirects > maxInternalRedirects {
		h.logger.Error("too many internal redirects", "path", v.path, "to", to.Path)
		h.fail(w, r, h.base, http.StatusInternalServerError)
		return
	}
	before := v.env
	v.env = nil
	for name, value := range before {
		v.set("REDIRECT_"+name, value)
	}
	if _, ok := before["REDIRECT_STATUS"]; !ok || !strings.HasPrefix(before["REDIRECT_STATUS"], "4") {
		v.set("REDIRECT_STATUS", strconv.Itoa(http.StatusOK))
	}
	v.set("REDIRECT_URL", r.URL.Path)
	out := *r
	out.URL, out.RequestURI = to, to.RequestURI()
	h.route(w, &out)
}
