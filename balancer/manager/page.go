package manager

import (
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/proxy/backend"
)

//go:embed page.html
var pageMarkup string

var pageTemplate = template.Must(template.New("manager").Funcs(template.FuncMap{
	"link": func(balancer, member string) string {
		q := url.Values{"b": {balancer}}
		if member != "" {
			q.Set("w", member)
		}
		return "?" + q.Encode() + "#edit"
	},
	"has": func(f balancer.Flags, letter string) bool {
		flag, _ := backend.ParseFlags(letter, 0)
		return f&flag != 0
	},
	"seconds": func(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) },
	"cells":   cellsOf,
	"chart":   chartPoints,
	"style":   func() template.CSS { return template.CSS(pageStyle) },
	"script":  func() template.JS { return template.JS(pageScript) },
}).Parse(pageMarkup))

// page is what the template shows.
type page struct {
	status
	Message string
	Columns []string
	Width   int
	Height  int
	Flags   []flagRow
	Methods []string
	Editing *balancerStatus // the balancer whose form is open
	Member  *memberStatus   // its member whose form is open, or nil
}

type flagRow struct{ Letter, Word string }

var flagRows = []flagRow{
	{"I", "Ignore errors"}, {"N", "Draining"}, {"D", "Disabled"}, {"S", "Stopped"}, {"H", "Hot standby"}, {"R", "Hot spare"},
}

var columns = []string{
	"Factor", "Set", "Route", "Redirect", "Status", "Elected", "Busy", "Wait", "Load", "To", "From", "Errors", "Latency", "Rate/s",
}

func (m *Handler) writePage(w http.ResponseWriter, r *http.Request, code int, message string) {
	p := page{status: m.status(), Message: message, Columns: columns, Width: chartWidth, Height: chartHeight, Flags: flagRows, Methods: balancer.MethodNames()}
	q := r.URL.Query()
	for i := range p.Balancers {
		b := &p.Balancers[i]
		if b.Name != q.Get("b") || !q.Has("b") || m.ReadOnly {
			continue
		}
		p.Editing = b
		for j := range b.Members {
			if b.Members[j].Name == q.Get("w") {
				p.Member = &b.Members[j]
			}
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_ = pageTemplate.Execute(w, &p)
}

// cellsOf are the columns of a member, as text.
func cellsOf(s *memberStatus) []string {
	rate := "–"
	if n := len(s.Rates); n > 0 {
		rate = strconv.FormatFloat(s.Rates[n-1], 'f', 1, 64)
	}
	status := s.Status
	switch {
	case s.RetryIn > 0:
		status += " (retry in " + s.RetryIn.Round(time.Second).String() + ")"
	case s.CheckFailed && s.CheckError != "":
		status += " (" + s.CheckError + ")"
	}
	return []string{
		strconv.FormatFloat(s.Config.LoadFactor, 'f', 2, 64), strconv.Itoa(s.Config.LBSet), s.Config.Route, s.Config.Redirect, status,
		strconv.FormatInt(s.Elected, 10), strconv.FormatInt(s.Busy, 10), strconv.FormatInt(s.Waiting, 10), strconv.FormatInt(s.Load, 10),
		sizeText(s.Sent), sizeText(s.Received), strconv.FormatInt(s.Errors, 10), s.Latency.Round(10 * time.Microsecond).String(), rate,
	}
}

// sizeText is a number of bytes in few digits.
func sizeText(n int64) string {
	v, unit := float64(n), 0
	for v >= 1000 && unit < 5 {
		v /= 1000
		unit++
	}
	if unit == 0 {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%.1f%c", v, "kMGTP"[unit-1])
}

// liveRow is what the page's script puts into a row.
type liveRow struct {
	Balancer string   `json:"b"`
	Member   string   `json:"m"`
	Cells    []string `json:"cells"`
	Points   string   `json:"points"`
}

func (m *Handler) live() []liveRow {
	rows := []liveRow{}
	for _, b := range m.status().Balancers {
		for i := range b.Members {
			s := &b.Members[i]
			rows = append(rows, liveRow{b.Name, s.Name, cellsOf(s), chartPoints(s.Rates)})
		}
	}
	return rows
}
