// Package ajp is for those who have a servlet container, such as Tomcat, that
// listens for AJP13, and for Go services that are to stand behind Apache's
// mod_proxy_ajp or mod_jk. For a container that listens for HTTP, package proxy is
// enough.
//
// It speaks the protocol at both ends: a [Transport] sends requests to a
// container, as mod_proxy_ajp does; a [Server] takes the container's place, as
// net/http/fcgi does for FastCGI.
//
//	client ─► proxy.Handler ─► Transport ══ AJP13 ══► Tomcat
//	client ─► httpd, mod_proxy_ajp ══ AJP13 ══► Server ─► http.Handler
//
// On the wire, FORWARD_REQUEST packets and those of a request's body go one
// way; SEND_HEADERS, SEND_BODY_CHUNK, GET_BODY_CHUNK and END_RESPONSE the
// other. The first packet of a body of known length goes unasked, all others
// when the container asks for them. A connection carries one request at a time
// and is kept for the next.
//
// A whole program, Apache's "ProxyPass / ajp://localhost:8009/ secret=s3cret":
//
//	func main() {
//		h, err := ajp.NewHandler("/", "ajp://localhost:8009/")
//		if err != nil {
//			log.Fatal(err)
//		}
//		h.Transport.(*ajp.Transport).Secret = "s3cret"
//		server := &http.Server{Addr: ":8080", Handler: h, ReadHeaderTimeout: 10 * time.Second}
//		log.Fatal(server.ListenAndServe())
//	}
//
// # Concurrency
//
// Transport and Server may be used by any number of goroutines once their
// fields are set. A request without a body runs on its caller's goroutine
// alone; one with a body has a second that sends it. What a container asks of
// the request's body after the head of its answer is sent while the answer's
// body is read. The server has a goroutine for each connection, and a second
// while a request that lasts is watched for its proxy leaving.
//
// # Timeouts
//
// Those of a Transport are of its [backend.Backend]: Timeout for each wait for
// the container: for the head whole, and for more of the body. Packets without
// data, and wishes for more of a body that has ended, end no wait. A client that
// is slow with its upload does not count: the limits for that are the Client of
// the [proxy.Handler]. Those of a Server are its fields.
//
// # Failures
//
// They are [*exchange.Error]: a container that does not answer a ping 503, a head
// that does not fit a packet 431, a timeout 504, garbage 502; an answer that
// breaks off ends the client's connection.
//
// # Security
//
// A container believes all that AJP tells: addresses, users, certificates. Let
// it listen on the loopback interface and ask for a secret. Field names of
// clients can never become attributes here (CVE-2020-1938); what frames a
// message is never taken from a client's fields (CVE-2022-26377,
// CVE-2022-36760). A Server without a secret refuses a listener that others
// can reach, and it refuses named attributes that it was not told to take. The
// secret is in no log and no error.
//
// # Differences from Apache
//
// NewHandler reads paths as servlet containers do, which Apache does with
// mapping=servlet alone. server_port is that of the Host field, not that of the
// listener. A head that is too large is 431. Fields of a hop (Connection, TE,
// Upgrade …) are not forwarded. ssl_session is not told, since crypto/tls does
// not know it, and ssl_cipher is the name of the RFCs, as OpenSSL has it for TLS
// 1.3 only.
package ajp
