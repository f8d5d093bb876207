package apache

// meantDifference is how a row differs, and why it does: the lines that only
// one of the two gives.
type meantDifference struct {
	why         string
	httpd, ours []string
}

// meant are the differences that we mean, by the names of their rows.
var meant = map[string]meantDifference{
	"Host, empty port": {
		why:   "a port may be empty: RFC 3986 section 3.2.3",
		httpd: []string{"< 400"},
		ours:  []string{"> GET /app/x HTTP/1.1", "> host: ORIGIN", "> x-forwarded-for: 127.0.0.1", "> x-forwarded-host: front.test:", "> x-forwarded-server: front.test", "< 200", `< "body"`},
	},
	"path: NUL": {
		why:   "an escaped NUL is malformed, not missing",
		httpd: []string{"< 404"},
		ours:  []string{"< 400"},
	},
	"nocanon: here": {
		why:   "dot segments are always resolved, so that the rules have seen the path that is sent",
		httpd: []string{"> GET /./x HTTP/1.1"},
		ours:  []string{"> GET /x HTTP/1.1"},
	},
	"encoded: letter": {
		why:   "what the client wrote is passed on byte for byte",
		httpd: []string{"> GET /A%3Bb HTTP/1.1"},
		ours:  []string{"> GET /%41%3Bb HTTP/1.1"},
	},
	"encoded: NUL": {
		why:   "no backend is sent an escaped NUL",
		httpd: []string{"> GET /%00 HTTP/1.1", "> host: ORIGIN", "> x-forwarded-for: 127.0.0.1", "> x-forwarded-host: rules.test", "> x-forwarded-server: rules.test", "< 200", `< "body"`},
		ours:  []string{"< 400"},
	},
	"slashes kept, encoded twice": {
		why:   "nothing is decoded twice: httpd loses a level of encoding, and with it path rules",
		httpd: []string{"> GET /a%2Fb HTTP/1.1"},
		ours:  []string{"> GET /a%252Fb HTTP/1.1"},
	},
	"Via on": {
		why:   "the same list in one field",
		httpd: []string{"< via: 1.1 back", "< via: 1.1 via.test"},
		ours:  []string{"< via: 1.1 back, 1.1 via.test"},
	},
	"Via on, port of the client": {
		why:   "the name in Via is the configuration's, and never what the client sent",
		httpd: []string{"> via: 1.1 via.test:8080", "< via: 1.1 via.test:8080"},
		ours:  []string{"> via: 1.1 via.test", "< via: 1.1 via.test"},
	},
	"Via full": {
		why:   "another program",
		httpd: []string{"> via: 1.1 full.test (Apache)", "< via: 1.1 full.test (Apache)"},
		ours:  []string{"> via: 1.1 full.test (modproxy)", "< via: 1.1 full.test (modproxy)"},
	},
	"fields as they are": {
		why:   "Proxy-Authenticate belongs into answers, and ranges are the backend's to answer",
		httpd: []string{"> proxy-authenticate: p", "< 416"},
		ours:  []string{"< 200", `< "body"`},
	},
	"range of a whole answer": {
		why:   "ranges are the backend's to answer; a cache may do it for it",
		httpd: []string{"< 206", "< content-range: bytes 0-1/4", `< "bo"`},
		ours:  []string{"< 200", `< "body"`},
	},
	"repeated fields": {
		why:   "repeated fields stay apart, as they came",
		httpd: []string{"> x-twice: 1, 2"},
		ours:  []string{"> x-twice: 1", "> x-twice: 2"},
	},
	"repeated Cookie": {
		why:   "cookies joined by a comma are not what the client sent",
		httpd: []string{"> cookie: a=1, b=2"},
		ours:  []string{"> cookie: a=1", "> cookie: b=2"},
	},
	"Proxy-Authorization": {
		why:   "credentials for this proxy are not for the backend (RFC 9110 section 11.7.2)",
		httpd: []string{"> proxy-authorization: Basic eDp5"},
	},
	"POST without a body": {
		why:  "net/http does not tell no length from a length of 0, and RFC 9110 section 8.6 asks for the field",
		ours: []string{"> content-length: 0"},
	},
	"unknown coding": {
		why:   "RFC 9112 section 6.1 asks for 501",
		httpd: []string{"< 500"},
		ours:  []string{"< 501"},
	},
	"chunked": {
		why:   "bodies are passed on as they come, and not held back until they are whole",
		httpd: []string{"> content-length: 5"},
		ours:  []string{"> transfer-encoding: chunked"},
	},
	"CONNECT": {
		why:   "CONNECT asks for a tunnel; it is no request for a path",
		httpd: []string{"> CONNECT / HTTP/1.1", "> host: ORIGIN", "> x-forwarded-for: 127.0.0.1", "> x-forwarded-host: front.test:80", "> x-forwarded-server: front.test", "< 200", `< "body"`},
		ours:  []string{"< 405"},
	},
	"date forms": {
		why:   "dates are passed on as the backend wrote them",
		httpd: []string{"< last-modified: Sun, 06 Nov 1994 08:49:37 GMT"},
		ours:  []string{"< last-modified: Sunday, 06-Nov-94 08:49:37 GMT"},
	},
	"no answer": {
		why:  "net/http does not tell no length from a length of 0",
		ours: []string{"> content-length: 0"},
	},
	"no HTTP": {
		why:   "what is no HTTP/1 answer is malformed; HTTP/0.9 is not guessed",
		httpd: []string{"< 200", `< "HTTX/1.1 200 OKConnection: close\r\n\r\nbody"`},
		ours:  []string{"< 502"},
	},
	"unequal lengths": {
		why:   "an answer that can be read in two ways is refused",
		httpd: []string{"< 200", `< "body"`},
		ours:  []string{"< 502"},
	},
	"reverse: case of the path": {
		why:   "paths differ by case",
		httpd: []string{"< location: http://reverse.test/rev/1"},
		ours:  []string{"< location: http://other.test/O/1"},
	},
	"reverse: path rule, other host": {
		why:   "a path says nothing about other hosts",
		httpd: []string{"< location: http://reverse.test/rev/1"},
		ours:  []string{"< location: http://elsewhere.test/rel/1"},
	},
	"reverse: longer word": {
		why:   "a rule ends with a segment: /revolution is not below /rev",
		httpd: []string{"< location: http://reverse.test/revolution"},
		ours:  []string{"< location: http://ORIGIN/revolution"},
	},
	"reverse: default port": {
		why:   "port 80 is the same as none",
		httpd: []string{"< location: http://def.test/d/1"},
		ours:  []string{"< location: http://reverse.test/rev/1"},
	},
	"cookies: longer path": {
		why:   "what follows the internal path is kept",
		httpd: []string{"< set-cookie: a=1; Path=/pub"},
		ours:  []string{"< set-cookie: a=1; Path=/pub/x"},
	},
	"cookies: leading dot": {
		why:   "a leading dot has no meaning (RFC 6265 section 5.2.3)",
		httpd: []string{"< set-cookie: a=1; domain=.int.test"},
		ours:  []string{"< set-cookie: a=1; domain=pub.test"},
	},
	"cookies: prefixes": {
		why:   "a domain is compared whole, and a path by segments",
		httpd: []string{"< set-cookie: a=1; PATH=/pub; DOMAIN=pub.test"},
		ours:  []string{"< set-cookie: a=1; PATH=/internal; DOMAIN=INT.TESTING"},
	},
	"max: 0 and GET": {
		why:   "RFC 9110 section 7.6.2 limits TRACE and OPTIONS alone",
		httpd: []string{"< 400"},
		ours:  []string{"> GET /x HTTP/1.1", "> host: ORIGIN", "> max-forwards: 0", "> x-forwarded-for: 127.0.0.1", "> x-forwarded-host: max.test", "> x-forwarded-server: max.test", "< 200", `< "body"`},
	},
}
