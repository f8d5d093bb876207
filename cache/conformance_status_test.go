package cache

import "testing"

// RFC 9211: what Cache-Status tells of each kind of answer.
func TestRFC9211_CacheStatusOfAnswers(t *testing.T) {
	named := func(c *Cache) { c.CacheStatus = "here" }
	fresh := []string{"Cache-Control: max-age=60", `ETag: "a"`}
	is := func(s string) []string { return []string{"Cache-Status: " + s} }
	const key = `; key="http://example.org/"`
	play(t, []scene{
		{"miss, then hit", named, []act{
			{answer: fresh, fields: is(`here; fwd=uri-miss; fwd-status=200; ttl=60; stored` + key + `; detail="not in the cache"`)},
			{wait: 20, by: byCache, fields: is(`here; hit; ttl=40` + key + `; detail="fresh in the cache"`)}}},
		{"not stored", named, []act{
			{answer: []string{"Cache-Control: no-store"}, fields: is(`here; fwd=uri-miss; fwd-status=200` + key + `; detail="no-store in the response"`)}}},
		{"stale", named, []act{
			{answer: fresh}, {wait: 61, status: 304, answer: fresh, by: checked, fields: is(`here; fwd=stale; fwd-status=304; ttl=60` + key + `; detail="still the same, says the origin"`)}}},
		{"the request's wish", named, []act{
			{answer: fresh}, {send: []string{"Cache-Control: no-cache"}, answer: fresh, by: replaced, fields: is(`here; fwd=request; fwd-status=200; ttl=60; stored` + key + `; detail="no-cache in the request"`)}}},
		{"another variant", named, []act{
			{answer: []string{"Cache-Control: max-age=60", "Vary: Foo"}},
			{send: []string{"Foo: 1"}, answer: fresh, fields: is(`here; fwd=vary-miss; fwd-status=200; ttl=60; stored` + key + `; detail="another variant than those in the cache"`)}}},
		{"served stale", named, []act{
			{answer: []string{"Cache-Control: max-age=60"}}, {wait: 70, send: []string{"Cache-Control: max-stale"}, by: byCache, fields: is(`here; hit; ttl=-10` + key + `; detail="stale, as the request allows"`)}}},
		{"behind another cache", named, []act{
			{answer: append(fresh, "Cache-Status: there; hit"), fields: is(`there; hit, here; fwd=uri-miss; fwd-status=200; ttl=60; stored` + key + `; detail="not in the cache"`)},
			{by: byCache, fields: is(`there; hit, here; hit; ttl=60` + key + `; detail="fresh in the cache"`)}}},
		{"a method that is not cached", named, []act{{method: "OPTIONS", fields: is(`here; fwd=method; fwd-status=200` + key + `; detail="the method is not one that is cached"`)}}},
		{"answers without a body", named, []act{
			{answer: fresh, content: "0123456789"},
			{method: "HEAD", by: byCache, fields: is(`here; hit; ttl=60` + key + `; detail="fresh in the cache"`)},
			{send: []string{`If-None-Match: "a"`}, by: byCache, want: 304, fields: is(`here; hit; ttl=60` + key + `; detail="fresh in the cache"`)},
			{send: []string{"Range: bytes=10-"}, by: byCache, want: 416, fields: is(`here; hit; ttl=60` + key + `; detail="fresh in the cache"`)}}},
		{"only-if-cached", named, []act{
			{send: []string{"Cache-Control: only-if-cached"}, by: byCache, want: 504, fields: []string{"Cache-Status: here; key=\"http://example.org/\"; detail=\"only-if-cached, and nothing to answer with\""}}}},
		{"off", nil, []act{{answer: fresh, fields: []string{"-Cache-Status", "-X-Cache", "-X-Cache-Detail"}}, {by: byCache, fields: []string{"-Cache-Status", "-X-Cache"}}}},
		{"X-Cache", func(c *Cache) { c.Header, c.DetailHeader, c.ServerName = true, true, "me" }, []act{
			{answer: fresh, fields: []string{"X-Cache: MISS from me", `X-Cache-Detail: "not in the cache" from me`}},
			{by: byCache, fields: []string{"X-Cache: HIT from me", `X-Cache-Detail: "fresh in the cache" from me`}},
			{wait: 60, status: 304, answer: fresh, by: checked, fields: []string{"X-Cache: REVALIDATE from me"}},
			{method: "POST", fields: []string{"X-Cache: INVALIDATE from me"}}}},
	})
}
