package proxy

import (
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMatchRule(t *testing.T) {
	const m = `^/m/(.*)$`
	tests := []struct{ pattern, target, in, want string }{
		{m, "http://b/M/$1", "/m/x", "/M/x"},
		{m, "http://b/M/$1", "/n/x", ""},
		{m, "http://b/M/$1", "/m/a%20b", "/M/a%20b"},
		{m, "http://b/M/$1", "/m/a%3Fb", "/M/a%3Fb"}, // CVE-2024-38474
		{m, "http://b/M/$1", "/m/a%3fb?q", "/M/a%3fb?q"},
		{m, "http://b/M/$1", "/m/a;b?q=1", "/M/a;b?q=1"},
		{m, "http://b/M/$1", "/m/@evil/", "/M/@evil/"},
		{m, "http://b/M/$1", "/m/", "/M/"},
		{m, "http://b/M/$1", "/%6d/%41", "/M/%41"},
		{m, "http://b/M/$1", "/m//x//y", "/M/x//y"},
		{m, "http://b/M/$1", "//m/x", "/M/x"},
		{m, "http://b/M/$1", "/x/../m/y", "/M/y"},
		{m, "http://b/M/$1", "/m/a%2Fb", "/M/a%2Fb"},
		{m, "http://b/M/$1", "/m/a%252Fb", "/M/a%252Fb"},
		{m, "http://b/M/$1", "*", ""},
		// CVE-2023-25690; in RE2 "." and "$" do not meet at a newline, (?s) takes it
		{`(?s)^/m/(.*)$`, "http://b/M/$1", "/m/a%0D%0Ab", "/M/a%0D%0Ab"},
		{`(?s)^/m/(.*)$`, "http://b/M/$1", "/m/a%20HTTP/1.1%0d%0aX:y", "/M/a%20HTTP/1.1%0d%0aX:y"},
		{`^/mq/(.*)$`, "http://b/MQ?x=$1", "/mq/x", "/MQ%3Fx=x"},
		{`^/mq/(.*)$`, "http://b/MQ?x=$1", "/mq/x?y", "/MQ%3Fx=x?y"},
		{`^/mn/`, "http://b", "/mn/x", "/mn/x"}, // nothing substituted: the whole path
		{`^/mn/`, "http://b", "/%6dn//x%2F", "/%6dn//x%2F"},
		{`\.gif$`, "http://b/img", "/a/b.gif", "/img/a/b.gif"},
		{`\.gif$`, "http://b/img/", "/a/b.gif", "/img/a/b.gif"},
		{`\.gif$`, "http://b/", "/a/b.gif", "/a/b.gif"},
		{`\.gif$`, "http://b/", "/a/b.gift", ""},
		{`/(b+)/`, "http://b/$0/$1", "/a/bb/c", "//bb//bb"},
		{`^/(a)?(.*)$`, "http://b/$1/$2", "/x", "//x"}, // a group without part
		{`^/p/(.*)$`, `http://b/\$1/\\/$1`, "/p/x", "/$1/%5C/x"},
		{`^/p/(.*)$`, `http://b/a%20b c/$1`, "/p/x", "/a%20b%20c/x"},
		{`^/p/(.*)$`, `http://b/$`, "/p/x", "/$/p/x"},
		// a target may follow host and port at once
		{`^/reverse-slash(/.*)?$`, "http://b:8080$1", "/reverse-slash", "/"},
		{`^/reverse-slash(/.*)?$`, "http://b:8080$1", "/reverse-slash/", "/"},
		{`^/reverse-slash(/.*)?$`, "http://b:8080$1", "/reverse-slash/i", "/i"},
		{`^/reverse-slash(/.*)?$`, "http://b:8080$1", "/reverse-slash//i", "//i"},
		{`^/r(.*)$`, "http://b$1", "/r.evil.test/", refused},
		{`^/r(.*)$`, "http://b$1", "/r:81/", refused},
		{`^/r(.*)$`, "http://b$1", "/r@evil.test/", refused},
		{`^/r(.*)$`, "http://b$1", "/r%2Fx", refused},
		{`(.*)`, "http://b$1", "@localhost/foobar.html", refused}, // CVE-2011-3368
		// a dot segment that was none before
		{`^/img/[a-z](.*)$`, "http://b/i/$1", "/img/a../secret", refused},
		{`^/img/(.*)x$`, "http://b/i/.$1", "/img/.x", refused},
		{`^/img/(.*)x$`, "http://b/i/.$1", "/img/%2ex", refused},
		{`^/img/[a-z](.*)$`, "http://b/i/$1", "/img/a./secret", refused},
		// an expression that cuts the text of an escaped slash
		{`^/c/(.*)2F(.*)$`, "http://b/$1-$2", "/c/a%2fb", "/a%25-b"},
		{`^/c/(.*)%2F(.*)$`, "http://b/$1/$2", "/c/a%2fb", "/a/b"},
		{`^/c/([^/]*)$`, "http://b/$1", "/c/a%2fb", "/a%2fb"},
		{`^/c/(.)2F$`, "http://b/${1}", "/c/%2F", "/$%7B1%7D/c/%2F"}, // no such syntax
	}
	for _, tt := range tests {
		t.Run(tt.pattern+" "+tt.target+" "+tt.in, func(t *testing.T) {
			require.Equal(t, tt.want, mapTarget(t, matchRule(t, tt.pattern, tt.target, MappingRaw), tt.in))
		})
	}
}

func TestMatchRuleMappings(t *testing.T) {
	const in = "/m/%41//b%3b%2f%2541"
	require.Equal(t, "/M/A/b;%2F%2541", mapTarget(t, matchRule(t, `^/m/(.*)`, "http://b/M/$1", MappingDecoded), in))
	require.Equal(t, "/M/%41/b%3b%2f%2541", mapTarget(t, matchRule(t, `^/m/(.*)`, "http://b/M/$1", MappingServlet), in))
	require.Equal(t, refused, mapTarget(t, matchRule(t, `^/m/.(.*)`, "http://b/M/$1", MappingServlet), "/m/x..;/y"))
}

func TestMatchRuleErrors(t *testing.T) {
	for _, target := range []string{
		"/x$1",
		"b/$1",
		"http:$1",
		"$1://b/",
		"ht$1://b/",
		"http://$1/",
		"http://$1.test/",
		"http://b$1.test/",
		"http://b$1$0x/",
		"http://b:$1/",
		"http://b:8$1@c/",
		"http://u:$1@b/",
		"http://u$1@b/",
		"http://:80/$1",
		"http://b?x=$1",
		"http://b#$1",
		"http://b:port/$1",
		"http://b /$1",
		"http://b/$2",
		"http://b/%00$1",
		"http://b/../x",
		"http:///$1",
	} {
		_, err := newMatchRule(regexp.MustCompile(`^/(.*)$`), target, MappingRaw)
		require.Error(t, err, target)
	}
	_, err := newMatchRule(nil, "http://b/", MappingRaw)
	require.Error(t, err)
}

func TestMatchRuleDropsUserInfo(t *testing.T) {
	ru := matchRule(t, `^/(.*)$`, "https://u:p@b:1/$1", MappingRaw)
	var out url.URL
	ok, err := ru.apply(&url.URL{Path: "/x"}, &out)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, url.URL{Scheme: "https", Host: "b:1", Path: "/x"}, out)
}
