// Package cache is for those who want answers kept and given again: an RFC 9111
// shared cache, as middleware in front of an http.Handler, or a wrapper around an
// http.RoundTripper. It does what Apache's mod_cache does. The zero [Cache] keeps
// 64 MiB in memory; who wants more than that takes a store from package
// cache/memory, cache/disk or cache/tiered.
//
//	client ─► Cache.Wrap ─► look ──fresh──► answer from the Store
//	                          │ ──stale, but it may──► answer, and a flight in the background
//	                          └─else─► flight ─► next handler ─► …
//	                                     │
//	     all who want the same ◄─ stream ◄┘─► Store
//
// A flight is one request to the origin. It belongs to the cache: whoever wants
// the same waits for the head of its answer; if that may be stored and used for
// him, he reads the body while it comes in, at his own pace; else he goes to
// the origin by himself. The flight goes on when the client that caused it
// leaves. What breaks off breaks off for all, and is never stored.
//
// A whole program:
//
//	func main() {
//		app, err := proxy.NewHandler("/", "http://127.0.0.1:9000/")
//		if err != nil {
//			log.Fatal(err)
//		}
//		c := &cache.Cache{Store: &disk.Store{Root: "/var/cache/app"}, Header: true}
//		server := &http.Server{Addr: ":8080", Handler: c.Wrap(app), ReadHeaderTimeout: 10 * time.Second}
//		log.Fatal(server.ListenAndServe())
//	}
//
// # Stores
//
// A [store.Store] keeps responses and decides nothing. There is one in memory, one
// on a disk (mod_cache_disk), and one that puts the one in front of the other:
// packages cache/memory, cache/disk and cache/tiered. Of your own, package
// cache/cachetest tells what is wrong. When a store fails, requests pass it by.
//
// # Where to put it
//
// Around everything, the cache answers without asking whether the client may
// have that, as Apache does with CacheQuickHandler on. Behind authentication it
// answers those alone who would get an answer without it. In front of handlers
// that compress, it keeps the compressed variants that their Vary tells apart.
//
// # Concurrency
//
// A Cache may be used by any number of goroutines once its fields are set. A
// request that has to be fetched runs the handler behind the cache on a
// goroutine of its own, whose end the outer handler waits for. Validation in the
// background (stale-while-revalidate) outlives the request that caused it, for
// at most Linger; [Cache.Close] ends it. It gets the request's context, without
// its end: what middleware keeps there may be used after its handler returned.
//
// # Timeouts
//
// The cache has none of its own for an origin that answers slowly: those of the
// handler behind it count. LockMaxAge limits how long one request waits for
// another, Linger how long a fetch goes on that nobody wants any more, and Client
// how long a client is waited for that does not read, 60 s by default. Who reads
// along with others what turns out not to be stored, and holds them up for a
// second without catching up, is cut off.
//
// # Security
//
// What is not in the key must not change the answer: the key is scheme, host,
// path and query, byte for byte, and what Vary names. The scheme is that of the
// connection, whatever an absolute target says; before a forward proxy
// ([Cache.WrapForward]) and around a RoundTripper, that of the URL. Host is in
// lower case and without a default port, and so the handler gets it: two
// requests of one key are told the same. X-Forwarded-Host, -Proto and -Port and
// all others of that kind that do not tell an address, and host and proto of
// Forwarded, are those of TrustedProxies, or tell responses
// apart as Vary does; around a RoundTripper they are part of the key. A handler
// that goes by yet another field has to name it in Vary, or others get what one
// client asked for. Names of fields are brought into canonical form. Behind a
// proxy that ends TLS, set TrustedProxies. A request whose Host is none
// ([exchange.ParseHost]) is answered with 400.
//
// A GET or HEAD with a body has nothing to do with what is stored, and a user in
// the URL counts as Authorization, as does one whom middleware in front has verified
// ([access.WithUser]) unless there is a Key, which can name the user. Answers that set cookies are not stored
// unless they say that they are for all; StorePrivate, StoreNoStore and
// StoreSetCookie can show one user what was meant for another. What is added to
// an answer on its way, such as a balancer's route cookie, is for the one who
// asked: it is not stored, and does not count ([exchange.NoteOwnField]). A response
// whose fields could be read in two ways is not stored, nor one whose Vary names
// more than 4 KiB of the request. Purging is the embedder's to protect, see
// [Cache.PurgeHandler].
//
// The origin is asked about the stored response that Vary chooses for a request,
// and about no other, since many origins give one tag to all variants. What a
// 304 says is stored by the rules for a 200. Besides, a cookie in it never is
// (but with StoreSetCookie), Authorization needs its own public, must-revalidate
// or s-maxage, and its Vary adds to the stored one and takes nothing away.
//
// # Differences from Apache
//
// The zero value keeps RFC 9111; what departs from it has to be asked for, by a
// field named as Apache's directive. Waiting requests stream the one that is
// under way; CacheLock's way is [CollapseLock]. CacheMaxExpire also limits a
// supplied expiry date, and CacheMinExpire counts only where there is none, as
// Apache's manual says and its code does not. A URL with a query is cached as
// any other unless QueryNeedsExpiry is set. What is stale at once, but can be
// validated, is stored. Ranges are stored and combined, but small ones not with
// more than 64 MiB, since all of it is copied for that. Responses with
// Set-Cookie are not stored by default. Bytes of damaged files are not sent.
//
// # Conformance
//
// The test table named requirements lists each MUST and SHOULD of RFC 9111 that
// concerns a shared cache, by section, with the tests that see it met; likewise
// for what is used of RFC 5861 (stale-while-revalidate, stale-if-error), 8246
// (immutable), 9110 (validators, conditions, ranges), 9211 (Cache-Status) and
// 9213 (CDN-Cache-Control).
package cache
