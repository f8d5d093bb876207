package apache

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/backend"
)

// cacheSettings are what the directives of mod_cache and its stores say; nil is
// not said.
type cacheSettings struct {
	enable   []cacheRule // CacheEnable of servers
	enableAt *conf.Directive
	here     *string // CacheEnable of a section: the kind of store
	disable  []cacheRule
	off      *bool // CacheDisable on, of a section

	quick, lock, header, detail                     *bool
	ignoreControl, ignoreLastMod, ignoreQuery       *bool
	storeNoStore, storePrivate, storeExpired, stale *bool
	ignoreHeaders, ignoreIDs                        *[]string
	root, socache                                   *string
	base                                            *url.URL

	levels, length                             *int64
	maxFile, minFile, readSize, socacheMaxSize *int64
	factor                                     *float64
	defaultExpire, maxExpire, minExpire        *time.Duration
	lockAge, readTime, socacheMaxTime          *time.Duration
}

func (s cacheSettings) merge(inner cacheSettings) cacheSettings {
	if inner.enableAt != nil {
		s.enableAt = inner.enableAt
	}
	s.enable, s.disable = behind(s.enable, inner.enable), behind(s.disable, inner.disable)
	over(&s.here, inner.here)
	over(&s.base, inner.base)
	over(&s.factor, inner.factor)
	for _, p := range []struct{ dst, src **bool }{
		{&s.off, &inner.off}, {&s.quick, &inner.quick}, {&s.lock, &inner.lock}, {&s.header, &inner.header}, {&s.detail, &inner.detail},
		{&s.ignoreControl, &inner.ignoreControl}, {&s.ignoreLastMod, &inner.ignoreLastMod}, {&s.ignoreQuery, &inner.ignoreQuery},
		{&s.storeNoStore, &inner.storeNoStore}, {&s.storePrivate, &inner.storePrivate}, {&s.storeExpired, &inner.storeExpired}, {&s.stale, &inner.stale},
	} {
		over(p.dst, *p.src)
	}
	for _, p := range []struct{ dst, src **int64 }{
		{&s.levels, &inner.levels}, {&s.length, &inner.length}, {&s.maxFile, &inner.maxFile}, {&s.minFile, &inner.minFile},
		{&s.readSize, &inner.readSize}, {&s.socacheMaxSize, &inner.socacheMaxSize},
	} {
		over(p.dst, *p.src)
	}
	for _, p := range []struct{ dst, src **time.Duration }{
		{&s.defaultExpire, &inner.defaultExpire}, {&s.maxExpire, &inner.maxExpire}, {&s.minExpire, &inner.minExpire},
		{&s.lockAge, &inner.lockAge}, {&s.readTime, &inner.readTime}, {&s.socacheMaxTime, &inner.socacheMaxTime},
	} {
		over(p.dst, *p.src)
	}
	over(&s.ignoreHeaders, inner.ignoreHeaders)
	over(&s.ignoreIDs, inner.ignoreIDs)
	over(&s.root, inner.root)
	over(&s.socache, inner.socache)
	return s
}

// cacheDirectives are those of mod_cache, mod_cache_disk and mod_cache_socache.
func cacheDirectives() []directive {
	const dir = anyServer | inLocation
	on := func(name string, in place, note string, f func(s *cacheSettings) **bool) directive {
		return directive{name: name, in: in, min: 1, max: 1, note: note, apply: applySwitch(func(s *settings) **bool { return f(&s.cache) })}
	}
	seconds := func(name, note string, in place, unit time.Duration, f func(s *cacheSettings) **time.Duration) directive {
		return directive{name: name, in: in, min: 1, max: 1, note: note, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			n, err := strconv.ParseUint(d.Args[0], 10, 31)
			if err != nil {
				return fmt.Errorf("%q is no time", d.Args[0])
			}
			v := time.Duration(n) * unit
			*f(&s.settings.cache) = &v
			return nil
		}}
	}
	number := func(name, note string, in place, least, most int64, f func(s *cacheSettings) **int64) directive {
		return directive{name: name, in: in, min: 1, max: 1, note: note, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			n, err := strconv.ParseInt(d.Args[0], 10, 64)
			if err != nil || n < least || most > 0 && n > most {
				return fmt.Errorf("%q is no number of the right size", d.Args[0])
			}
			*f(&s.settings.cache) = &n
			return nil
		}}
	}
	words := func(name, note string, f func(s *cacheSettings) **[]string) directive {
		return directive{name: name, in: anyServer, min: 1, max: -1, note: note, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			list := append([]string{}, said(*f(&s.settings.cache), nil)...)
			for _, w := range d.Args {
				if strings.EqualFold(w, "none") {
					list = list[:0]
				} else {
					list = append(list, w)
				}
			}
			*f(&s.settings.cache) = &list
			return nil
		}}
	}
	text := func(name, note string, f func(s *cacheSettings) **string) directive {
		return directive{name: name, in: anyServer, min: 1, max: 1, note: note, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			*f(&s.settings.cache) = &d.Args[0]
			return nil
		}}
	}
	return []directive{
		{name: "CacheEnable", in: dir, min: 1, max: 2, note: "disk, socache or memory; in a section without a URL, and with CacheQuickHandler off", apply: applyCacheEnable},
		{name: "CacheDisable", in: dir, min: 1, max: 1, note: "the variable no-cache disables, too", apply: applyCacheDisable},
		on("CacheQuickHandler", anyServer, "", func(s *cacheSettings) **bool { return &s.quick }),
		on("CacheLock", anyServer, "On: who wants what is being fetched waits for that and gets it while it comes in; Off: each goes to the backend", func(s *cacheSettings) **bool { return &s.lock }),
		seconds("CacheLockMaxAge", "how long one request waits for another", anyServer, time.Second, func(s *cacheSettings) **time.Duration { return &s.lockAge }),
		{name: "CacheLockPath", in: anyServer, min: 1, max: 1, note: "no files are needed: requests wait in the process"},
		text("CacheRoot", "kept within 1 GiB, without htcacheclean; the files are not httpd's", func(s *cacheSettings) **string { return &s.root }),
		number("CacheDirLevels", "", anyServer, 1, 20, func(s *cacheSettings) **int64 { return &s.levels }),
		number("CacheDirLength", "", anyServer, 1, 20, func(s *cacheSettings) **int64 { return &s.length }),
		number("CacheMaxFileSize", "", dir, 0, 0, func(s *cacheSettings) **int64 { return &s.maxFile }),
		number("CacheMinFileSize", "", dir, 0, 0, func(s *cacheSettings) **int64 { return &s.minFile }),
		number("CacheReadSize", "", dir, 0, 0, func(s *cacheSettings) **int64 { return &s.readSize }),
		seconds("CacheReadTime", "", dir, time.Millisecond, func(s *cacheSettings) **time.Duration { return &s.readTime }),
		seconds("CacheDefaultExpire", "", dir, time.Second, func(s *cacheSettings) **time.Duration { return &s.defaultExpire }),
		seconds("CacheMaxExpire", "also of a supplied expiry date, as the manual says", dir, time.Second, func(s *cacheSettings) **time.Duration { return &s.maxExpire }),
		seconds("CacheMinExpire", "only where no lifetime is told, as the manual says", dir, time.Second, func(s *cacheSettings) **time.Duration { return &s.minExpire }),
		{name: "CacheLastModifiedFactor", in: dir, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			f, err := strconv.ParseFloat(d.Args[0], 64)
			if err != nil || !(f >= 0) || f > 1e6 {
				return fmt.Errorf("%q is no factor", d.Args[0])
			}
			s.settings.cache.factor = &f
			return nil
		}},
		on("CacheIgnoreCacheControl", anyServer, "", func(s *cacheSettings) **bool { return &s.ignoreControl }),
		on("CacheIgnoreNoLastMod", dir, "", func(s *cacheSettings) **bool { return &s.ignoreLastMod }),
		on("CacheIgnoreQueryString", anyServer, "", func(s *cacheSettings) **bool { return &s.ignoreQuery }),
		words("CacheIgnoreHeaders", "answers that set cookies are stored only if they say that they are for all, or with Set-Cookie here", func(s *cacheSettings) **[]string { return &s.ignoreHeaders }),
		words("CacheIgnoreURLSessionIdentifiers", "", func(s *cacheSettings) **[]string { return &s.ignoreIDs }),
		{name: "CacheKeyBaseURL", in: anyServer, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			u, err := backend.ParseURL(d.Args[0])
			if err == nil && (u.Scheme == "" || u.Host == "") {
				err = errors.New("scheme and host are needed")
			}
			s.settings.cache.base = u
			return err
		}},
		on("CacheStoreNoStore", dir, "", func(s *cacheSettings) **bool { return &s.storeNoStore }),
		on("CacheStorePrivate", dir, "", func(s *cacheSettings) **bool { return &s.storePrivate }),
		on("CacheStoreExpired", dir, "what can be validated is stored anyway", func(s *cacheSettings) **bool { return &s.storeExpired }),
		on("CacheStaleOnError", dir, "", func(s *cacheSettings) **bool { return &s.stale }),
		on("CacheHeader", dir, "", func(s *cacheSettings) **bool { return &s.header }),
		on("CacheDetailHeader", dir, "the reasons are in words of our own", func(s *cacheSettings) **bool { return &s.detail }),
		text("CacheSocache", "any provider stands for memory; the size in parentheses counts", func(s *cacheSettings) **string { return &s.socache }),
		number("CacheSocacheMaxSize", "", dir, 0, 0, func(s *cacheSettings) **int64 { return &s.socacheMaxSize }),
		seconds("CacheSocacheMaxTime", "", dir, time.Second, func(s *cacheSettings) **time.Duration { return &s.socacheMaxTime }),
		{name: "CacheSocacheMinTime", in: dir, min: 1, max: 1, note: "what is stale stays until the room is needed"},
		{name: "CacheSocacheReadSize", in: dir, min: 1, max: 1, note: "CacheReadSize counts"},
		{name: "CacheSocacheReadTime", in: dir, min: 1, max: 1, note: "CacheReadTime counts"},
	}
}

// cacheRule is a CacheEnable or CacheDisable with a URL.
type cacheRule struct {
	kind         string // of store
	scheme, host string // "" for all; a host with "*" or "." in front stands for those that end so
	path         string
}

// readCacheRule reads "/path", "http://host/path", "http://" or "http://*.host/".
func readCacheRule(kind, text string) (cacheRule, error) {
	r := cacheRule{kind: kind}
	if strings.HasPrefix(text, "/") {
		r.path = text
		return r, nil
	}
	var ok bool
	r.scheme, text, ok = strings.Cut(text, "://")
	if !ok {
		return r, fmt.Errorf("%q is neither a path nor a URL", text)
	}
	r.scheme = strings.ToLower(r.scheme)
	r.host, r.path, _ = strings.Cut(text, "/")
	r.host, r.path = strings.ToLower(strings.TrimPrefix(r.host, "*")), "/"+r.path
	return r, nil
}

// fits reports whether a request is meant. As in httpd, paths are compared
// letter by letter, not by segments.
func (r cacheRule) fits(scheme, host, at string) bool {
	switch {
	case r.scheme != "" && r.scheme != scheme:
		return false
	case r.host == "":
	case strings.HasPrefix(r.host, "."):
		if !strings.HasSuffix(host, r.host) {
			return false
		}
	case host != r.host:
		return false
	}
	return strings.HasPrefix(at, r.path)
}

func applyCacheEnable(b *builder, s *scope, d *conf.Directive) error {
	kind := strings.ToLower(d.Args[0])
	switch kind {
	case "mem":
		kind = "memory"
	case "disk", "socache", "memory":
	default:
		return fmt.Errorf("%q is no kind of store: disk, socache and memory are", d.Args[0])
	}
	if s.context == inLocation {
		if len(d.Args) > 1 {
			return errors.New("a section takes no URL")
		}
		s.settings.cache.here = &kind
		return nil
	}
	if len(d.Args) < 2 {
		return errors.New("a URL is needed outside of sections")
	}
	r, err := readCacheRule(kind, d.Args[1])
	s.settings.cache.enable, s.settings.cache.enableAt = append(s.settings.cache.enable, r), d
	return err
}

func applyCacheDisable(_ *builder, s *scope, d *conf.Directive) error {
	if s.context == inLocation {
		if !strings.EqualFold(d.Args[0], "on") {
			return errors.New("a section takes On alone")
		}
		yes := true
		s.settings.cache.off = &yes
		return nil
	}
	r, err := readCacheRule("", d.Args[0])
	s.settings.cache.disable = append(s.settings.cache.disable, r)
	return err
}
