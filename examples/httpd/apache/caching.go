package apache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/cache/disk"
	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// cacheStores are the stores of a program, which stay over reloads.
type cacheStores struct {
	mu     sync.Mutex // guards stores
	stores map[string]store.Store
}

// get returns the store for settings, and makes it if it is new.
func (c *cacheStores) get(kind string, s *cacheSettings, opt options, log *slog.Logger) (store.Store, error) {
	var key string
	var kept store.Store
	switch kind {
	case "disk":
		d := &disk.Store{Root: opt.file(*s.root), DirLevels: int(said(s.levels, 2)), DirLength: int(said(s.length, 2)), Logger: log}
		if d.DirLevels*d.DirLength > 20 {
			return nil, errors.New("CacheDirLevels times CacheDirLength must not be more than 20")
		}
		key, kept = fmt.Sprint("disk ", d.Root, d.DirLevels, d.DirLength), d
	default:
		m := &memory.Store{MaxEntry: said(s.socacheMaxSize, 0)}
		if kind == "socache" {
			m.MaxEntry = said(s.socacheMaxSize, 102400)
			m.MaxBytes = sizeIn(said(s.socache, ""))
		}
		key, kept = fmt.Sprint(kind, " ", said(s.socache, ""), " ", m.MaxBytes, " ", m.MaxEntry), m
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if have, ok := c.stores[key]; ok {
		return have, nil
	}
	if c.stores == nil {
		c.stores = make(map[string]store.Store)
	}
	c.stores[key] = kept
	return kept, nil
}

// sizeIn is the size in "shmcb:path(size)"; 0 without one.
func sizeIn(provider string) int64 {
	_, rest, _ := strings.Cut(provider, "(")
	n, _ := strconv.ParseInt(strings.TrimSuffix(rest, ")"), 10, 64)
	return max(n, 0)
}

func (c *cacheStores) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.stores {
		if closer, ok := s.(interface{ Close() error }); ok {
			_ = closer.Close()
		}
	}
	c.stores = nil
}

// aging is a store in which nothing is found that was stored longest ago:
// CacheSocacheMaxTime.
type aging struct {
	store.Store
	limit time.Duration
}

func (s *aging) Get(ctx context.Context, key string) ([]store.Entry, error) {
	entries, err := s.Store.Get(ctx, key)
	young := func(e store.Entry) bool { return time.Since(e.Meta().ResponseTime) < s.limit }
	for i, e := range entries {
		if young(e) {
			continue
		}
		kept := append([]store.Entry(nil), entries[:i]...)
		for _, e := range entries[i:] {
			if young(e) {
				kept = append(kept, e)
			} else {
				_ = s.Remove(ctx, e)
			}
		}
		return kept, err
	}
	return entries, err
}

// newCache makes the cache that settings describe.
func (h *host) newCache(kind string, s *cacheSettings) (*cache.Cache, error) {
	store, err := h.stores.get(kind, s, h.opt, h.logger)
	if err != nil {
		return nil, err
	}
	if kind == "socache" {
		store = &aging{store, said(s.socacheMaxTime, 24*time.Hour)}
	}
	c := &cache.Cache{
		Store: store, Client: h.client, Logger: h.logger, ServerName: h.name, KeyBaseURL: s.base,
		MaxFileSize: cmp.Or(said(s.maxFile, 1000000), 1), MinFileSize: said(s.minFile, 1),
		DefaultExpire: said(s.defaultExpire, time.Hour), MaxExpire: said(s.maxExpire, 24*time.Hour), MinExpire: said(s.minExpire, 0),
		LastModifiedFactor: said(s.factor, 0.1), HeuristicMax: said(s.maxExpire, 24*time.Hour),
		IgnoreCacheControl: said(s.ignoreControl, false), IgnoreNoLastMod: said(s.ignoreLastMod, false),
		IgnoreQueryString: said(s.ignoreQuery, false), IgnoreHeaders: said(s.ignoreHeaders, nil),
		IgnoreURLSessionIdentifiers: said(s.ignoreIDs, nil),
		StoreNoStore:                said(s.storeNoStore, false), StorePrivate: said(s.storePrivate, false), StoreExpired: said(s.storeExpired, false),
		QueryNeedsExpiry: true, NoStaleOnError: !said(s.stale, true),
		Collapse: cache.CollapseOff, ReadSize: said(s.readSize, 0), ReadTime: said(s.readTime, 0),
		Header: said(s.header, false), DetailHeader: said(s.detail, false),
		BackgroundContext: detached,
	}
	if c.LastModifiedFactor == 0 {
		c.LastModifiedFactor = -1
	}
	if said(s.lock, false) {
		c.Collapse, c.LockMaxAge = cache.CollapseStream, said(s.lockAge, 5*time.Second)
	}
	h.cachesMu.Lock()
	h.caches = append(h.caches, kindOfCache{c, kind})
	h.cachesMu.Unlock()
	return c, nil
}

// kindOfCache is a cache with what it keeps its responses in: disk, memory …
type kindOfCache struct {
	*cache.Cache
	kind string
}

// detached gives what goes on in the background a visit of its own.
func detached(ctx context.Context) context.Context {
	v, ok := ctx.Value(visitKey{}).(*visit)
	if !ok {
		return ctx
	}
	own := *v
	own.env = maps.Clone(v.env)
	return context.WithValue(ctx, visitKey{}, &own)
}

// kinds are the stores that settings may use.
func (s *cacheSettings) kinds() (kinds []string) {
	add := func(kind string) {
		if !s.noDisk(kind) && !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	if s.here != nil {
		add(*s.here)
	}
	for _, r := range s.enable {
		add(r.kind)
	}
	return kinds
}

// kindFor is the store that a request uses; "" for none.
func (s *cacheSettings) kindFor(r *http.Request, scheme, at string) string {
	if said(s.off, false) {
		return ""
	}
	host, _, _ := exchange.ParseHost(strings.ToLower(r.Host))
	for _, rule := range s.disable {
		if rule.fits(scheme, host, at) {
			return ""
		}
	}
	kind := ""
	if s.here != nil {
		kind = *s.here
	} else if i := slices.IndexFunc(s.enable, func(rule cacheRule) bool { return rule.fits(scheme, host, at) }); i >= 0 {
		kind = s.enable[i].kind
	}
	if s.noDisk(kind) {
		return ""
	}
	return kind
}

// noDisk reports whether a kind of store is the disk without a CacheRoot: as in
// httpd, it then stores nothing.
func (s *cacheSettings) noDisk(kind string) bool { return kind == "disk" && s.root == nil }

// withCaches puts the caches of settings around next: which one depends on the
// request.
func (h *host) withCaches(s *cacheSettings, next http.Handler) (http.Handler, error) {
	kinds := s.kinds()
	if len(kinds) == 0 || said(s.off, false) {
		return next, nil
	}
	behind := make(map[string]http.Handler)
	for _, kind := range kinds {
		c, err := h.newCache(kind, s)
		if err != nil {
			return nil, err
		}
		behind[kind] = c.Wrap(next)
		if h.forward != nil {
			behind[kind] = c.WrapForward(next)
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := visitOf(r)
		at := v.path
		if at == "" { // a quick handler comes before all else
			at = r.URL.Path
		}
		scheme := h.schemeOf(r)
		if h.forwards(r) {
			scheme = r.URL.Scheme
		}
		kind := s.kindFor(r, scheme, at)
		if kind == "" || h.uncached(v, r) {
			next.ServeHTTP(w, r)
			return
		}
		behind[kind].ServeHTTP(w, r)
	}), nil
}

// uncached reports whether the variable no-cache is set. For a quick handler,
// which comes before route, it finds out what SetEnvIf says.
func (h *host) uncached(v *visit, r *http.Request) bool {
	if v.path == "" && len(h.settings.envIf) > 0 {
		early := *v
		early.env = nil
		at, err := readPath(r.URL)
		if err != nil {
			return true
		}
		early.path = at
		for _, step := range h.settings.envIf {
			step(&early, r)
		}
		v = &early
	}
	_, off := v.env["no-cache"]
	return off
}

// closeCaches ends what they do in the background.
func (h *host) closeCaches() {
	h.cachesMu.Lock()
	defer h.cachesMu.Unlock()
	for _, c := range h.caches {
		c.Close()
	}
	h.caches = nil
}

// checkCaches finds out at the start what is wrong with the settings, and warns
// of those that can have no effect.
func (h *host) checkCaches() error {
	check := func(s *cacheSettings) error {
		for _, kind := range s.kinds() {
			if _, err := h.stores.get(kind, s, h.opt, h.logger); err != nil {
				return err
			}
		}
		return nil
	}
	if err := check(&h.settings.cache); err != nil {
		return err
	}
	if s := &h.settings.cache; slices.ContainsFunc(s.enable, func(r cacheRule) bool { return s.noDisk(r.kind) }) {
		h.warn(s.enableAt.Errorf("CacheEnable disk stores nothing without a CacheRoot"))
	}
	for _, l := range h.locations {
		if l.settings.cache.here == nil {
			continue
		}
		if said(h.settings.cache.quick, true) {
			h.logger.Warn("CacheEnable in a section has no effect with CacheQuickHandler on", "section", l.path)
		}
		merged := h.settings.cache.merge(l.settings.cache)
		if merged.noDisk(*merged.here) {
			h.warn(l.at.Errorf("CacheEnable disk stores nothing without a CacheRoot"))
		}
		if err := check(&merged); err != nil {
			return err
		}
	}
	return nil
}
