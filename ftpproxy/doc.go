// Package ftpproxy is for those who make what is on an FTP server available by
// HTTP, as Apache's mod_proxy_ftp does: files with ranges and conditions,
// directories as pages or as JSON, and, where that is allowed, storing and
// removing. It is no library of FTP for programs, and no proxy for FTP clients.
//
//	client ─► proxy.Handler ─► Transport ══ control ══► FTP server
//	                                     ◄══ data ═════
//
// Over the control connection go commands and replies, one after the other:
// the login, SIZE and MDTM for what a file is, CWD for a directory, then EPSV
// or PASV for a port, and RETR, MLSD, LIST or STOR. What is transferred goes
// over a data connection to that port, which ends with it; a last reply says
// whether that was all. Then the control connection is kept for the next
// request of the same user.
//
// A whole program, Apache's "ProxyPass /pub/ ftp://localhost/pub/":
//
//	func main() {
//		h, err := ftpproxy.NewHandler("/pub/", "ftp://localhost/pub/")
//		if err != nil {
//			log.Fatal(err)
//		}
//		server := &http.Server{Addr: ":8080", Handler: h, ReadHeaderTimeout: 10 * time.Second}
//		log.Fatal(server.ListenAndServe())
//	}
//
// Before it is used again the socket is looked at, and a server that has closed
// it, or says 421, to the first command costs a new connection and not the
// request; no NOOP is sent.
//
// # Answers
//
// A file has Content-Length by SIZE, Last-Modified by MDTM, an ETag of both,
// and a type by its name. A directory without a slash at the end of its path is
// redirected to the path with one. Up to 1000 entries are sorted; longer
// listings come in the order, and at the pace, of the server. ";type=a" is a
// transfer as text, ";type=d" a listing. A path that begins with "%2F" is one
// of the server's root, all others are of the user's home; a [proxy.Handler]
// passes it if AllowEncodedSlashes is set. What the server
// refuses has the status that fits its code: 404 for 550, 401 or 403 for a
// refused login, 503 for 421, 502 for what makes no sense.
//
// # Concurrency
//
// A Transport may be used by any number of goroutines once its fields are set.
// A request runs on its caller's goroutine alone.
//
// # Timeouts
//
// Those of the [backend.Backend]: ConnectTimeout for each of the two
// connections, Timeout for each wait for the server on either: for a reply whole,
// for all of a file that is answered in one piece, for more of a longer one, and
// for the next entry of a listing. The context of
// the request ends both connections at once.
//
// # Security
//
// A path or a credential with a control byte is refused before anything is
// sent, as is a path with a dot segment or with an encoded slash but in front.
// Data connections go to the server's own address, whatever it says in a reply
// to PASV. All text of the server is escaped in listings; errors and logs have
// its codes, not its words. Credentials are in no error, no log and no link,
// and the answers to them are marked private. The client's Authorization logs
// in unless IgnoreAuthorization is set: set it where Authorization is meant for
// a middleware. Length, reply and end of a transfer must agree, or the answer
// breaks off with a [*exchange.Error], which ends the client's connection. With
// TLS, certificates are verified on both connections, and the data connection
// resumes the session of its control connection.
//
// # Differences from Apache
//
// HEAD, ranges, conditions and UTF-8 names work. Other methods are 405 and not
// 501. Control connections are kept. A directory is redirected to its slash. A
// name with a wildcard that exists is served, and patterns are matched here,
// not by the server. Active data connections are not spoken.
package ftpproxy
