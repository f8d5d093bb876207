package manager

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// Handler is the page. It answers
//
//	GET  …            a page, which works without script; with it, figures are live
//	GET  …?json=1     all that the page shows, for machines
//	GET  …?xml=1      the same in Apache's XML
//	POST …            a change, as a form (Apache's names of fields) or as JSON
//
// A change needs the balancer's nonce, which the page and both formats for
// machines carry, and must not come from another site: both guard against
// forged requests (CSRF). Everything shown is escaped, and the page's
// Content-Security-Policy allows no script but its own.
//
// Access is the embedder's: put middleware in front. As long as neither Allow
// nor Guarded is set, the page says that it is open. Set the fields before the
// first request.
type Handler struct {
	// Balancers are those that are shown. Apache shows all there are.
	Balancers []*balancer.Balancer

	// List, if not nil, returns the balancers in place of Balancers, for those
	// that come and go.
	List func() []*balancer.Balancer

	// Allow, if not nil, decides who may see the page and make changes. Others
	// get 403.
	Allow func(*http.Request) bool

	// Guarded says that middleware in front decides who gets here.
	Guarded bool

	// ReadOnly refuses all changes.
	ReadOnly bool

	// OnChange, if not nil, is called after each change, for example to store
	// [balancer.Balancer.Snapshot]. Apache: BalancerPersist.
	OnChange func(*balancer.Balancer)

	// Logger gets each change, with who made it, at level Info. If nil, nothing
	// is logged.
	Logger *slog.Logger

	once      sync.Once
	secret    [32]byte // behind the nonces
	crossSite http.CrossOriginProtection

	mu      sync.Mutex // guards the rest
	added   map[*balancer.Balancer]int
	history map[*balancer.Member]*history
}

// New returns a Handler that shows the balancers.
func New(balancers ...*balancer.Balancer) *Handler { return &Handler{Balancers: balancers} }

//go:embed page.css
var pageStyle string

//go:embed page.js
var pageScript string

// pagePolicy allows the page's own style and script, by their hashes, and
// connections and forms to where it came from.
var pagePolicy = "default-src 'none'; style-src " + sourceHash(pageStyle) + "; script-src " + sourceHash(pageScript) +
	"; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

func sourceHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func (m *Handler) setup() {
	m.once.Do(func() {
		_, _ = rand.Read(m.secret[:])
		m.added = make(map[*balancer.Balancer]int)
		m.history = make(map[*balancer.Member]*history)
	})
}

func (m *Handler) balancers() []*balancer.Balancer {
	if m.List != nil {
		return m.List()
	}
	return m.Balancers
}

func (m *Handler) find(name string) *balancer.Balancer {
	name = strings.TrimPrefix(name, "balancer://")
	for _, b := range m.balancers() {
		if b.Name() == name {
			return b
		}
	}
	return nil
}

// nonce is what a change of b must carry. It lives as long as the Handler.
func (m *Handler) nonce(b *balancer.Balancer) string {
	sum := sha256.Sum256(append(m.secret[:], b.Name()...))
	return hex.EncodeToString(sum[:16])
}

func (m *Handler) isNonce(b *balancer.Balancer, s string) bool {
	return subtle.ConstantTimeCompare([]byte(s), []byte(m.nonce(b))) == 1
}

func (m *Handler) open() bool { return m.Allow == nil && !m.Guarded }

// ServeHTTP answers as the type's comment says.
func (m *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.setup()
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	if err := exchange.CheckHost(r); err != nil { // forms are compared with it
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	if m.Allow != nil && !m.Allow(r) {
		http.Error(w, "forbidden", http.StatusForbidden)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		m.show(w, r)
	case http.MethodPost:
		m.post(w, r)
	default:
		h.Set("Allow", "GET, HEAD, POST")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

// show answers a GET.
func (m *Handler) show(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	switch {
	case q.Get("json") == "1" || r.Header.Get("Accept") == "application/json":
		writeJSON(w, http.StatusOK, m.status())
	case q.Get("xml") == "1":
		m.writeXML(w)
	case q.Get("live") == "1":
		writeJSON(w, http.StatusOK, m.live())
	default:
		m.writePage(w, r, http.StatusOK, "")
	}
}

// refuse answers a change that was not made, in the form that was asked in.
func (m *Handler) refuse(w http.ResponseWriter, r *http.Request, code int, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if isJSON(r) {
		writeJSON(w, code, map[string]string{"error": text})
		return
	}
	m.writePage(w, r, code, text)
}
