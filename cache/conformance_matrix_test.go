package cache

import (
	"fmt"
	"testing"
)

// Every condition with every range, for a variant that is stored and one that is
// not, fresh and stale, GET and HEAD. What has to come is worked out from the
// order of RFC 9110 section 13.2.2, one rule after another.
func TestRFC9110_13_2_2_ConditionsRangesVariants(t *testing.T) {
	type want struct{ notModified, noRange bool }
	conditions := map[string]struct {
		send []string
		want want
	}{
		"none":                          {nil, want{}},
		"tag":                           {[]string{`If-None-Match: "x", W/"a"`}, want{notModified: true}},
		"star":                          {[]string{"If-None-Match: *"}, want{notModified: true}},
		"another tag":                   {[]string{`If-None-Match: "b"`}, want{}},
		"date":                          {[]string{"If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT"}, want{notModified: true}},
		"earlier date":                  {[]string{"If-Modified-Since: Fri, 01 Jan 1999 00:00:00 GMT"}, want{}},
		"tag and earlier date":          {[]string{`If-None-Match: "a"`, "If-Modified-Since: Fri, 01 Jan 1999 00:00:00 GMT"}, want{notModified: true}},
		"another tag and date":          {[]string{`If-None-Match: "b"`, "If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT"}, want{}},
		"range if tag":                  {[]string{`If-Range: "a"`}, want{}},
		"range if weak tag":             {[]string{`If-Range: W/"a"`}, want{noRange: true}},
		"range if date":                 {[]string{"If-Range: Fri, 31 Dec 1999 00:00:00 GMT"}, want{}},
		"range if another date":         {[]string{"If-Range: Sat, 01 Jan 2000 00:00:00 GMT"}, want{noRange: true}},
		"another tag, range if tag":     {[]string{`If-None-Match: "b"`, `If-Range: "a"`}, want{}},
		"tag, range if another tag":     {[]string{`If-None-Match: "a"`, `If-Range: "b"`}, want{notModified: true}},
		"another tag, range if another": {[]string{`If-None-Match: "b"`, `If-Range: "b"`}, want{noRange: true}},
	}
	ranges := map[string]struct {
		status int
		text   string
	}{
		"":                  {200, "0123456789"},
		"bytes=2-4":         {206, "234"},
		"bytes=-2":          {206, "89"},
		"bytes=0-0,5-5":     {206, "*"},
		"bytes=10-":         {416, ""},
		"bytes=4-2":         {200, "0123456789"},
		"lines=2-4":         {200, "0123456789"},
		"bytes=0-,0-,0-,1-": {200, "0123456789"},
	}
	answer := []string{"Cache-Control: max-age=10", `ETag: "a"`, "Last-Modified: Fri, 31 Dec 1999 00:00:00 GMT", "Vary: Foo"}
	var scenes []scene
	for condition, c := range conditions {
		for spec, r := range ranges {
			for _, method := range []string{"GET", "HEAD"} {
				for _, variant := range []string{"1", "2"} {
					for _, wait := range []int{0, 11} {
						last := act{wait: wait, method: method, send: append([]string{"Foo: " + variant}, c.send...), by: byCache, want: r.status, text: r.text}
						if spec != "" {
							last.send = append(last.send, "Range: "+spec)
						}
						switch {
						case c.want.notModified:
							last.want, last.text = 304, ""
						case method == "HEAD":
							last.want, last.text = 200, ""
						case c.want.noRange:
							last.want, last.text = 200, "0123456789"
						}
						switch {
						case variant == "2": // the origin's own affair
							last.by, last.want, last.status, last.text = either, 0, 404, "*"
						case wait > 0 && method == "HEAD":
							last.by, last.want, last.status, last.answer = either, 0, 404, nil
						case wait > 0:
							last.by, last.status, last.answer = checked, 304, answer
						}
						scenes = append(scenes, scene{fmt.Sprint(condition, " ", spec, " ", method, " ", variant, " ", wait), nil, []act{
							{send: []string{"Foo: 1"}, answer: answer, content: "0123456789"}, last,
						}})
					}
				}
			}
		}
	}
	play(t, scenes)
}
