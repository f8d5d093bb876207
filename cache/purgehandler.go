package cache

import (
	"encoding/json"
	"net/http"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// PurgeHandler returns a handler by which responses are purged. Who may do that
// is the embedder's to check, in front of it.
//
//	PURGE /path                 what is stored for that URI of the request's host
//	POST ?uri=U                 what is stored for the URI U
//	POST ?prefix=P              what is stored for URIs that begin with P
//	POST ?tag=T&tag=…           what has one of these surrogate keys
//	POST ?all=1                 everything
//	GET                         the figures, as JSON
//
// With soft=1, or the field "Soft-Purge: 1", nothing is taken out, but all of
// it has to be validated. The answer is JSON: {"purged":n}. A POST that a
// browser sends from another site is refused with 403.
func (c *Cache) PurgeHandler() http.Handler {
	c.setup()
	return &purgeHandler{c: c}
}

type purgeHandler struct {
	c      *Cache
	origin http.CrossOriginProtection
}

func (p *purgeHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := exchange.CheckHost(r); err != nil {
		http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
		return
	}
	mode := PurgeRemove
	if r.URL.Query().Get("soft") == "1" || r.Header.Get("Soft-Purge") == "1" {
		mode = PurgeSoft
	}
	c, ctx := p.c, r.Context()
	var n int
	var err error
	switch r.Method {
	case "PURGE":
		n, err = c.purgeKey(ctx, c.keyOf(r), mode) // which need not be a URI
	case http.MethodPost:
		if err := p.origin.Check(r); err != nil {
			http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
			return
		}
		var known bool
		if n, known, err = p.post(r, mode); !known {
			http.Error(w, "one of uri, prefix, tag, all=1 is needed", http.StatusBadRequest)
			return
		}
	case http.MethodGet, http.MethodHead:
		answerJSON(w, c.Stats())
		return
	default:
		w.Header().Set("Allow", "GET, HEAD, POST, PURGE")
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	if err != nil {
		c.storeFailed(ctx, "purge", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	c.storeWorked(ctx, "purge")
	answerJSON(w, struct {
		Purged int `json:"purged"`
	}{n})
}

// post purges what the query names. It is not known what to do without one of
// its words.
func (p *purgeHandler) post(r *http.Request, mode PurgeMode) (n int, known bool, err error) {
	q, c, ctx := r.URL.Query(), p.c, r.Context()
	add := func(m int, e error) {
		known = true
		if n += m; err == nil {
			err = e
		}
	}
	for _, uri := range q["uri"] {
		add(c.Purge(ctx, uri, mode))
	}
	for _, prefix := range q["prefix"] {
		add(c.PurgePrefix(ctx, prefix, mode))
	}
	if tags := q["tag"]; len(tags) > 0 {
		add(c.PurgeTags(ctx, mode, tags...))
	}
	if q.Get("all") == "1" {
		add(c.PurgeAll(ctx, mode))
	}
	return n, known, err
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v)
}
