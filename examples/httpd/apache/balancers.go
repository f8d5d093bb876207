package apache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/balancer/manager"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// cluster is a balancer as it was declared: by <Proxy balancer://name>, by
// BalancerMember, and by the ProxyPass that leads to it.
type cluster struct {
	name    string
	at      *conf.Directive
	method  func() balancer.Method
	config  balancer.Config // but for what the running server gives
	members []*member
	faulty  bool // some member could not be read
}

// member is a BalancerMember.
type member struct {
	at     *conf.Directive
	config balancer.MemberConfig
	check  checkParams
	params params // of its transport
}

const balancerScheme = "balancer://"

func isBalancer(target string) bool {
	return len(target) >= len(balancerScheme) && strings.EqualFold(target[:len(balancerScheme)], balancerScheme)
}

// balancerName returns the name in balancer://name/path.
func balancerName(target string) string {
	name, _, _ := strings.Cut(target[len(balancerScheme):], "/")
	return strings.ToLower(name)
}

// server returns the server or virtual host that a section stands in.
func (s *scope) server() *scope {
	for s.context != inServer && s.context != inVhost {
		s = s.parent
	}
	return s
}

// cluster returns the balancer of that URL in the server of s, and makes it if
// there is none yet.
func (s *scope) cluster(target string, d *conf.Directive) (*cluster, error) {
	name := balancerName(target)
	if name == "" {
		return nil, fmt.Errorf("%q names no balancer", backend.RedactURL(target))
	}
	s = s.server()
	for _, c := range s.clusters {
		if c.name == name {
			return c, nil
		}
	}
	c := &cluster{name: name, at: d, config: balancer.Config{Name: name}, method: func() balancer.Method { return &balancer.ByRequests{} }}
	s.clusters = append(s.clusters, c)
	return c, nil
}

// checkClusters tells of balancers that can never have a member, and lets a virtual
// host that only names a balancer of the main server use that one.
func (b *builder) checkClusters() {
	isInherited := func(c *cluster) bool {
		return len(c.members) == 0 && slices.ContainsFunc(b.main.clusters, func(m *cluster) bool { return m.name == c.name })
	}
	for _, s := range append([]*scope{b.main}, b.vhosts...) {
		if s != b.main {
			s.clusters = slices.DeleteFunc(s.clusters, isInherited)
		}
		for _, c := range s.clusters {
			if len(c.members) == 0 && !c.faulty && c.config.Growth <= 0 {
				b.warn(didYouMean(c.at.Errorf("%s has no members: requests for it are answered with 503", backend.RedactURL("balancer://"+c.name)), b.nearBalancer(s, c)))
			}
		}
	}
}

// nearBalancer returns the balancer with members that may have been meant.
func (b *builder) nearBalancer(s *scope, empty *cluster) string {
	var names []string
	for _, c := range slices.Concat(s.clusters, b.main.clusters) {
		if len(c.members) > 0 {
			names = append(names, c.name)
		}
	}
	near, ok := conf.Nearest(empty.name, names)
	if !ok {
		return ""
	}
	return backend.RedactURL("balancer://" + near)
}

// declares reports whether a host has a balancer of its own, at work or not.
func (h *host) declares(name string) bool {
	return slices.ContainsFunc(h.scope.clusters, func(c *cluster) bool { return c.name == name })
}

// pool is a balancer at work, with what the handlers of its rules need to know.
type pool struct {
	*balancer.Balancer
	declared *cluster
	file     string // where it is kept over a restart; empty for nowhere
	saving   sync.Mutex
}

// startClusters makes the balancers of a server; a virtual host inherits those
// of the main server that it has not itself.
func (st *generation) startClusters(h *host, s *scope, inherited map[string]*pool) error {
	h.pools = make(map[string]*pool)
	if said(h.settings.balancerInherit, true) {
		for name, p := range inherited {
			h.pools[name] = p
		}
	}
	var all conf.Errors
	for _, c := range s.clusters {
		p, err := st.startCluster(h, s, c)
		if err != nil {
			all.Add(locate(c.at, err))
			continue
		}
		h.pools[c.name] = p
		st.pools = append(st.pools, p)
	}
	return all.Err()
}

func (st *generation) startCluster(h *host, s *scope, c *cluster) (*pool, error) {
	config := c.config
	config.Method, config.Logger = c.method(), h.logger
	config.MaxChecks = st.opt.maxChecks
	if config.Growth == 0 {
		config.Growth = said(h.settings.growth, 0)
	}
	declared := make(map[string]*member)
	for _, m := range c.members {
		declared[m.config.Name] = m
	}
	config.Prepare = func(mc *balancer.MemberConfig) (func(), error) {
		own, at := params{}, c.at
		if m := declared[mc.Name]; m != nil {
			own, at = m.params, m.at
		}
		target, err := newTarget(mc.URL, own)
		if err != nil {
			return nil, err
		}
		if err := h.checkParent(at, target); err != nil {
			return nil, err
		}
		t, err := h.newTransport(target)
		if err != nil {
			return nil, err
		}
		mc.RoundTripper, mc.Backend = t.RoundTripper, t.backend
		return t.close, nil
	}
	var members []balancer.MemberConfig
	for _, m := range c.members {
		mc := m.config
		var err error
		if m.check.idle(h) {
			h.warn(m.at.Errorf("the parameters of health checks have no effect without hcmethod"))
		}
		if mc.Check, err = m.check.build(h, st); err != nil {
			return nil, locate(m.at, err)
		}
		if err := pingCheck(&mc); err != nil {
			return nil, locate(m.at, err)
		}
		members = append(members, mc)
	}
	b, err := balancer.New(config, members...)
	if err != nil {
		return nil, err
	}
	p := &pool{Balancer: b, declared: c}
	if said(h.settings.balancerPersist, false) {
		p.file = filepath.Join(st.opt.stateDir(), "balancer-"+url.PathEscape(h.name+"-"+c.name)+".json")
		if err := p.restore(); err != nil {
			h.logger.Warn("balancer is not as it was before", "balancer", c.name, "error", err)
		}
	}
	return p, nil
}

// memberTarget is what a transport leads to: a rule's target or a member.
type memberTarget struct {
	socket, text string
	whole        string // as it was written
	user         *url.Userinfo
	params       params
}

// newTarget takes a target apart.
func newTarget(whole string, p params) (memberTarget, error) {
	t := memberTarget{whole: whole, params: p}
	t.socket, t.text = cutUnix(whole)
	if !isFTP(t.text) {
		return t, nil
	}
	_, authority, _ := strings.Cut(t.text, "://")
	if i := strings.IndexAny(authority, "/?$"); i >= 0 {
		authority = authority[:i]
	}
	if user, _ := cutUser(authority); user != "" {
		u, err := url.Parse("ftp://" + user + "@x")
		if err != nil {
			return t, errFTPTarget
		}
		t.user = u.User
	}
	return t, nil
}

// save keeps what an administrator has changed. The file is replaced at once,
// so that a half-written one is never read.
func (p *pool) save() error {
	p.saving.Lock() // of two changes at once, the later one stays
	defer p.saving.Unlock()
	text, err := json.MarshalIndent(p.Snapshot(), "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(p.file), ".balancer-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), p.file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func (p *pool) restore() error {
	text, err := readFile(p.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var s balancer.Snapshot
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	return p.Restore(s)
}

// newManager makes the balancer-manager of a server.
func (h *host) newManager() *manager.Handler {
	m := &manager.Handler{Logger: h.logger, Guarded: true}
	for _, p := range h.pools {
		m.Balancers = append(m.Balancers, p.Balancer)
	}
	slices.SortFunc(m.Balancers, func(a, b *balancer.Balancer) int { return strings.Compare(a.Name(), b.Name()) })
	for _, l := range h.locations {
		if said(l.settings.files.handler, "") == handlerManager && !h.settings.merge(l.settings).access.says() {
			m.Guarded = false
		}
	}
	m.OnChange = func(b *balancer.Balancer) {
		p := h.pools[b.Name()]
		if p == nil || p.file == "" {
			return
		}
		if err := p.save(); err != nil {
			h.logger.Error("balancer cannot be kept", "balancer", b.Name(), "error", err)
		}
	}
	return m
}

// balancerFacts are the variables that a balancer sets.
var balancerFacts = []string{
	"BALANCER_NAME", "BALANCER_SESSION_STICKY", "BALANCER_SESSION_ROUTE", "BALANCER_WORKER_NAME", "BALANCER_WORKER_ROUTE", "BALANCER_ROUTE_CHANGED",
}

// noteBalancer makes what the balancer decided variables of the request.
func noteBalancer(resp *http.Response) {
	facts := balancer.FactsFrom(resp.Request.Context())
	v := visitOf(resp.Request)
	if facts == nil || v == nil {
		return
	}
	for _, name := range balancerFacts {
		if value := facts.Env(name); value != "" {
			v.set(name, value)
		}
	}
}

// applyMembers sets on a handler what members say of upgrades.
func (h *host) applyMembers(p *pool, ph *proxy.Handler) {
	for _, m := range p.declared.members {
		_, text := cutUnix(m.config.URL)
		if isWebSocket(text) {
			ph.Upgrades = []string{"websocket"}
		}
		h.applyParams(m.config.URL, m.params, unusedTransport(), ph)
	}
}
