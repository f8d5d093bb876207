package apache

// rewriteMeant are the differences from httpd that are meant.
var rewriteMeant = map[string]meantDifference{
	"flag: /pne/%C3%A4": {
		httpd: []string{"> GET /P/\xc3\xa4 HTTP/1.1"}, ours: []string{"> GET /P/%C3%A4 HTTP/1.1"},
		why: "bytes that may not stand in a request line are escaped",
	},
	"htaccess: /app/deep/": {
		httpd: []string{"> GET /deep/index.html HTTP/1.1"}, ours: []string{"> GET /deep/ HTTP/1.1"},
		why: "httpd asks for the files of DirectoryIndex, too, and the rule takes the first of them; here it takes the folder, as it says",
	},
	"flag: /dot/y": {
		httpd: []string{"> GET /x/../y HTTP/1.1", "> host: ORIGIN", "> x-forwarded-for: 127.0.0.1", "> x-forwarded-host: flag.test:99", "> x-forwarded-server: flag.test", "< 200", `< "body"`},
		ours:  []string{"< 400"},
		why:   "no dot segment is sent on: the backend would see a path that no rule has seen",
	},
	"flag: /host/x X-To: unknown.invalid": {
		httpd: []string{"< 500"}, ours: []string{"< 503"},
		why: "a host without an address is a backend that is not there, as for ProxyPass",
	},
	"flag: /co3": {
		httpd: []string{"< set-cookie: a=b:c; path=/; domain=.flag.test"}, ours: []string{"< set-cookie: a=b:c; path=/; domain=.flag.test; HttpOnly"},
		why: "httpd loses HttpOnly where secure is off",
	},
	"flag: /co5": {
		httpd: []string{"< set-cookie: a=b; path=/; domain=.flag.test", "< set-cookie: c=b; path=/; domain=.flag.test"},
		ours:  []string{"< set-cookie: a=b; path=/; domain=.flag.test; HttpOnly", "< set-cookie: c=b; path=/; domain=.flag.test; HttpOnly"},
		why:   "httpd loses HttpOnly where secure is off",
	},
}
