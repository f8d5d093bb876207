package apache

import (
	"html/template"
	"net/http"
	"sort"
	"time"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

var statusPage = template.Must(template.New("status").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Server status</title>
<style>body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.3em .6em;text-align:right}td:first-child,th:first-child{text-align:left}</style>
<h1>Server status</h1>
<h2>Backends</h2>
<table><tr><th>Backend<th>State<th>Elected<th>Busy<th>Waiting<th>Open<th>Idle<th>Created<th>Reused<th>Errors<th>Sent<th>Received</tr>
{{range .Backends}}<tr><td>{{.Name}}<td>{{.State}}<td>{{.Elected}}<td>{{.Busy}}<td>{{.Waiting}}<td>{{.Open}}<td>{{.Idle}}<td>{{.Created}}<td>{{.Reused}}<td>{{.Errors}}<td>{{.Sent}}<td>{{.Received}}</tr>
{{end}}</table>
{{range .Balancers}}<h2>balancer://{{.Name}}</h2>
<p>Method {{.Method}}, {{.Usable}} of {{len .Members}} members usable</p>
<table><tr><th>Member<th>Status<th>Elected<th>Busy<th>Load<th>Sent<th>Received<th>Errors</tr>
{{range .Members}}<tr><td>{{.Name}}<td>{{.Status}}<td>{{.Elected}}<td>{{.Busy}}<td>{{.Load}}<td>{{.Sent}}<td>{{.Received}}<td>{{.Errors}}</tr>
{{end}}</table>
{{end}}{{if .Caches}}<h2>Caches</h2>
<table><tr><th>Server<th>Kind<th>Hits<th>Stale<th>Collapsed<th>Revalidated<th>Misses<th>Bypassed<th>Stored<th>Refused<th>Entries<th>Bytes<th>Evictions</tr>
{{range .Caches}}<tr><td>{{.Server}}<td>{{.Kind}}<td>{{.Hits}}<td>{{.Stale}}<td>{{.Collapsed}}<td>{{.Revalidated}}<td>{{.Misses}}<td>{{.Bypassed}}<td>{{.Stored}}<td>{{.Refused}}{{with .Store}}<td>{{.Entries}}<td>{{.Bytes}}<td>{{.Evictions}}{{else}}<td>-<td>-<td>-{{end}}</tr>
{{end}}</table>
{{end}}<h2>Tunnels</h2>
{{if .Tunnels}}<table><tr><th>Client<th>Protocol<th>Backend<th>For<th>Sent<th>Received</tr>
{{range .Tunnels}}<tr><td>{{.ClientAddr}}<td>{{.Protocol}}<td>{{.Target}}<td>{{.Duration}}<td>{{.Sent}}<td>{{.Received}}</tr>
{{end}}</table>{{else}}<p>None.</p>{{end}}
</html>
`))

type backendRow struct {
	Name string
	backend.Stats
}

type cacheFigures struct {
	Server, Kind string
	cache.Stats
}

// status answers with a page of all backends, balancers, caches and tunnels. It
// changes nothing, and all text in it is escaped.
func (st *generation) status(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "405 Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	var page struct {
		Backends  []backendRow
		Balancers []balancer.Stats // with ProxyStatus On
		Caches    []cacheFigures
		Tunnels   []tunnel.Stats
	}
	for _, h := range st.hosts {
		for _, t := range h.direct {
			page.Backends = append(page.Backends, backendRow{t.backend.String(), t.backend.Stats()})
		}
		h.cachesMu.Lock()
		for _, c := range h.caches {
			page.Caches = append(page.Caches, cacheFigures{h.name, c.kind, c.Stats()})
		}
		h.cachesMu.Unlock()
	}
	for _, p := range st.pools {
		for _, m := range p.Members() {
			if b := m.Backend(); b != nil {
				page.Backends = append(page.Backends, backendRow{b.String(), b.Stats()})
			}
		}
		if said(st.hosts[0].settings.proxyStatus, false) {
			page.Balancers = append(page.Balancers, p.Stats())
		}
	}
	sort.Slice(page.Backends, func(i, j int) bool { return page.Backends[i].Name < page.Backends[j].Name })
	page.Tunnels = st.hosts[0].tunnels.List()
	for i := range page.Tunnels {
		page.Tunnels[i].Duration = page.Tunnels[i].Duration.Round(time.Second)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	_ = statusPage.Execute(w, page)
}
