package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/proxy/backend"
)

// maxChangeBytes limits the body of a change.
const maxChangeBytes = 64 << 10

// change is a change that was asked for: the fields of a form, by Apache's
// names, from whatever form they came in.
//
//	b nonce                         the balancer, and its nonce
//	w                               a member, by its name
//	w_lf w_ls w_wr w_rr             its load factor, set, route and redirect
//	w_status_D …_S …_I …_N …_H …_R  its flags: 0 or 1
//	w_hi w_hp w_hf w_hu             its check: interval in s, passes, fails, path
//	b_lbm b_tmo b_max b_ss b_sforce method, timeout in s, attempts, sticky session, no failover
//	b_wyes=1 b_nwrkr enable=1       the URL of a new member, and whether it is used at once
//	do=remove                       w is removed
type change url.Values

// get returns the last value, so that a checkbox wins over the hidden field
// before it.
func (c change) get(name string) (string, bool) {
	v := c[name]
	if len(v) == 0 {
		return "", false
	}
	return v[len(v)-1], true
}

func (c change) text(name string) string {
	s, _ := c.get(name)
	return s
}

func isJSON(r *http.Request) bool {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return kind == "application/json"
}

// post makes a change.
func (m *Handler) post(w http.ResponseWriter, r *http.Request) {
	if err := m.crossSite.Check(r); err != nil {
		m.refuse(w, r, http.StatusForbidden, "the request came from another site")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxChangeBytes)
	c, err := readChange(r)
	if err != nil {
		code := http.StatusBadRequest
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			code = http.StatusRequestEntityTooLarge
		}
		m.refuse(w, r, code, "the request cannot be read")
		return
	}
	b := m.find(c.text("b"))
	switch {
	case b == nil:
		m.refuse(w, r, http.StatusNotFound, "there is no balancer %q", c.text("b"))
		return
	case m.ReadOnly:
		m.refuse(w, r, http.StatusForbidden, "this manager makes no changes")
		return
	case !m.isNonce(b, c.text("nonce")):
		m.refuse(w, r, http.StatusForbidden, "the nonce does not fit: load the page anew")
		return
	}
	if err := m.apply(b, c); err != nil {
		m.refuse(w, r, http.StatusBadRequest, "%s", strings.TrimPrefix(err.Error(), "balancer: "))
		return
	}
	if m.Logger != nil {
		m.Logger.InfoContext(r.Context(), "balancer: changed by manager", "balancer", b.Name(), "client", r.RemoteAddr, "change", c.loggable())
	}
	if m.OnChange != nil {
		m.OnChange(b)
	}
	if isJSON(r) {
		writeJSON(w, http.StatusOK, m.balancerStatus(b, time.Now()))
		return
	}
	q := url.Values{"b": {b.Name()}}
	if name := c.text("w"); b.Member(name) != nil {
		q.Set("w", name)
	}
	w.Header().Set("Location", "?"+q.Encode()) // whatever the path was before a StripPrefix
	w.WriteHeader(http.StatusSeeOther)
}

// readChange reads a form, or a JSON object of strings, numbers and booleans
// under the same names.
func readChange(r *http.Request) (change, error) {
	if !isJSON(r) {
		if err := r.ParseForm(); err != nil {
			return nil, err
		}
		return change(r.PostForm), nil
	}
	var object map[string]any
	if err := json.NewDecoder(r.Body).Decode(&object); err != nil {
		return nil, err
	}
	c := make(change, len(object))
	for name, v := range object {
		switch v := v.(type) {
		case string:
			c[name] = []string{v}
		case float64:
			c[name] = []string{strconv.FormatFloat(v, 'f', -1, 64)}
		case bool:
			c[name] = []string{map[bool]string{false: "0", true: "1"}[v]}
		default:
			return nil, fmt.Errorf("%q is neither text nor number", name)
		}
	}
	return c, nil
}

// loggable is the change without its nonce.
func (c change) loggable() string {
	v := make(url.Values, len(c))
	for name, values := range c {
		if name != "nonce" && name != "b" && len(values) > 0 {
			v.Set(name, values[len(values)-1])
		}
	}
	return v.Encode()
}

// apply makes the change, whole or not at all.
func (m *Handler) apply(b *balancer.Balancer, c change) error {
	if name, ok := c.get("w"); ok && name != "" {
		member := b.Member(name)
		if member == nil {
			return fmt.Errorf("%w: %q", balancer.ErrUnknownMember, name)
		}
		if c.text("do") == "remove" {
			return m.remove(b, name)
		}
		return changeMember(member, c)
	}
	if c.text("b_wyes") == "1" {
		return m.add(b, c)
	}
	return changeBalancer(b, c)
}

// room is how many members may still be added.
func (m *Handler) room(b *balancer.Balancer) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(growthOf(b)-m.added[b], 0)
}

func growthOf(b *balancer.Balancer) int {
	growth := b.Config().Growth
	if growth == 0 {
		return balancer.DefaultGrowth
	}
	return growth
}

// grow takes a place for one more member, and reports whether there was one.
func (m *Handler) grow(b *balancer.Balancer) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.added[b] >= growthOf(b) {
		return false
	}
	m.added[b]++
	return true
}

func (m *Handler) shrink(b *balancer.Balancer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.added[b] = max(m.added[b]-1, 0)
}

func (m *Handler) add(b *balancer.Balancer, c change) error {
	if !m.grow(b) {
		return errors.New("no more members may be added")
	}
	mc := balancer.MemberConfig{URL: strings.TrimSpace(c.text("b_nwrkr")), Flags: balancer.Disabled}
	if c.text("enable") == "1" {
		mc.Flags = 0
	}
	_, err := b.Add(mc)
	if err != nil {
		m.shrink(b)
	}
	return err
}

// remove does not wait for the member's requests: they end by themselves.
func (m *Handler) remove(b *balancer.Balancer, name string) error {
	done, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Remove(done, name); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	m.shrink(b)
	return nil
}

func changeMember(member *balancer.Member, c change) error {
	var failed error
	err := member.Configure(func(mc *balancer.MemberConfig) {
		old := *mc
		failed = errors.Join(
			c.number("w_lf", &mc.LoadFactor), c.whole("w_ls", &mc.LBSet),
			c.string("w_wr", &mc.Route), c.string("w_rr", &mc.Redirect), c.flags(&mc.Flags), c.check(mc),
		)
		if failed != nil {
			*mc = old
		}
	})
	return errors.Join(failed, err)
}

func changeBalancer(b *balancer.Balancer, c change) error {
	var failed error
	err := b.Configure(func(bc *balancer.Config) {
		old := *bc
		failed = errors.Join(c.method(bc), c.duration("b_tmo", &bc.Timeout), c.whole("b_max", &bc.MaxAttempts))
		if s, ok := c.get("b_sforce"); ok {
			bc.Sticky.NoFailover = s == "1"
		}
		if s, ok := c.get("b_ss"); ok && s != bc.Sticky.String() { // which may say less than there is
			if s == "-" {
				s = ""
			}
			names := balancer.ParseSticky(s)
			bc.Sticky.Cookie, bc.Sticky.Param = names.Cookie, names.Param
		}
		if failed != nil {
			*bc = old
		}
	})
	return errors.Join(failed, err)
}

// method sets the method, unless it stays what it is.
func (c change) method(bc *balancer.Config) error {
	name, ok := c.get("b_lbm")
	if !ok || name == balancer.MethodName(bc.Method) {
		return nil
	}
	method, err := balancer.MethodByName(name)
	if err == nil {
		bc.Method = method
	}
	return err
}

func (c change) flags(f *balancer.Flags) error {
	next := *f
	for _, row := range flagRows {
		flag, _ := backend.ParseFlags(row.Letter, 0)
		switch s, ok := c.get("w_status_" + row.Letter); {
		case !ok:
		case s == "1":
			next |= flag
		case s == "0":
			next &^= flag
		default:
			return fmt.Errorf("status %s is neither 0 nor 1", row.Letter)
		}
	}
	*f = next
	return nil
}

// check changes the health check of a member that has one.
func (c change) check(mc *balancer.MemberConfig) error {
	if mc.Check == nil {
		return nil
	}
	k := *mc.Check
	err := errors.Join(c.duration("w_hi", &k.Interval), c.whole("w_hp", &k.Passes), c.whole("w_hf", &k.Fails), c.string("w_hu", &k.Path))
	if k.Interval != mc.Check.Interval || k.Passes != mc.Check.Passes || k.Fails != mc.Check.Fails || k.Path != mc.Check.Path {
		mc.Check = &k
	}
	return err
}

func (c change) string(name string, to *string) error {
	if s, ok := c.get(name); ok {
		*to = s
	}
	return nil
}

func (c change) whole(name string, to *int) error {
	s, ok := c.get(name)
	if !ok {
		return nil
	}
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		return fmt.Errorf("%s is no whole number: %q", name, s)
	}
	*to = n
	return nil
}

func (c change) number(name string, to *float64) error {
	s, ok := c.get(name)
	if !ok {
		return nil
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("%s is no number: %q", name, s)
	}
	*to = f
	return nil
}

// duration reads seconds.
func (c change) duration(name string, to *time.Duration) error {
	if _, ok := c.get(name); !ok {
		return nil // to the nanosecond
	}
	var seconds float64
	if err := c.number(name, &seconds); err != nil {
		return err
	}
	if seconds < 0 || seconds > 1e6 {
		return fmt.Errorf("%s is not in 0 to 1000000 s", name)
	}
	*to = time.Duration(math.Round(seconds * float64(time.Second)))
	return nil
}
