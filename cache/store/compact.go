package store

import (
	"net/http"
	"slices"
	"strings"
)

// Compact makes m a copy of meta that holds on to no larger piece of memory, such
// as the whole head of a response. The text of all of it is one string, and so
// are the values of a header one slice: a hit that the processor has not in its
// caches waits for few places in memory.
func (m *Meta) Compact(meta *Meta) {
	var text compactText
	text.add(meta.Key)
	for _, h := range []http.Header{meta.Header, meta.Trailer, meta.Vary} {
		for name, values := range h {
			if _, known := knownNames[name]; !known {
				text.add(name)
			}
			for _, v := range values {
				text.add(v)
			}
		}
	}
	for _, tag := range meta.Tags {
		text.add(tag)
	}
	text.b.Grow(text.size)
	m.set(meta)
	m.Key, m.Parts, m.Tags = text.copy(meta.Key), slices.Clone(meta.Parts), nil
	m.Header, m.Trailer, m.Vary = text.header(meta.Header), text.header(meta.Trailer), text.header(meta.Vary)
	for _, tag := range meta.Tags {
		m.Tags = append(m.Tags, text.copy(tag))
	}
}

// compactText is a string that many are parts of. All are added before the
// first is copied.
type compactText struct {
	size int
	b    strings.Builder
}

func (t *compactText) add(s string) { t.size += len(s) }

func (t *compactText) copy(s string) string {
	from := t.b.Len()
	t.b.WriteString(s) // within the capacity, so what was copied stays in place
	return t.b.String()[from:]
}

func (t *compactText) header(h http.Header) http.Header {
	if h == nil {
		return nil
	}
	count := 0
	for _, values := range h {
		count += len(values)
	}
	all := make([]string, 0, count)
	out := make(http.Header, len(h))
	for name, values := range h {
		known, ok := knownNames[name]
		if !ok {
			known = t.copy(name)
		}
		from := len(all)
		for _, v := range values {
			all = append(all, t.copy(v))
		}
		out[known] = all[from:len(all):len(all)] // appending copies
	}
	return out
}

// knownNames are names that most responses share, so that no entry needs memory
// for them.
var knownNames = func() map[string]string {
	names := []string{
		"Accept-Ranges", "Access-Control-Allow-Credentials", "Access-Control-Allow-Headers", "Access-Control-Allow-Methods",
		"Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Access-Control-Max-Age", "Age", "Allow", "Alt-Svc",
		"Cache-Control", "Cache-Status", "Cdn-Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language",
		"Content-Length", "Content-Location", "Content-Range", "Content-Security-Policy", "Content-Type",
		"Cross-Origin-Embedder-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Date", "Etag", "Expires",
		"Last-Modified", "Link", "Location", "Permissions-Policy", "Pragma", "Referrer-Policy", "Retry-After", "Server",
		"Server-Timing", "Set-Cookie", "Strict-Transport-Security", "Surrogate-Control", "Surrogate-Key", "Timing-Allow-Origin",
		"Vary", "Via", "Warning", "X-Cache", "X-Content-Type-Options", "X-Frame-Options", "X-Powered-By", "X-Request-Id",
		"X-Xss-Protection",
		// of requests, in Vary:
		"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cookie", "Origin", "User-Agent",
	}
	m := make(map[string]string, len(names))
	for _, name := range names {
		m[name] = name
	}
	return m
}()
