// Package backend is for those who set how an origin server is reached (limits,
// timeouts, TLS, the PROXY protocol), and for those who write a transport or a
// balancer: it is one origin, with a pool of its connections, whether it is
// usable, and what it has served. Apache calls it a worker. Who is content with
// the defaults never names it. It knows nothing of HTTP: the transports for HTTP,
// FastCGI, AJP and FTP all stand on it.
//
//	transport ── Get(ctx) ──► Backend ──► idle connection, still open? ──► *Conn
//	                             │                 none
//	                             ├─ below MaxConns ──► dial, TLS, PROXY line ──► *Conn
//	                             └─ at MaxConns ─────► wait in line (FIFO) ────► *Conn
//	transport ◄── write, read ──► Conn.Release(reusable) ──► next in line, or idle
//
// A whole program:
//
//	b, err := backend.Parse("http://127.0.0.1:9000")
//	if err != nil { … }
//	defer b.Close()
//	c, err := b.Get(ctx)
//	if err != nil { … }
//	_, err = c.W.WriteString("PING\r\n")
//	…
//	c.Release(true)
//
// # Concurrency
//
// The fields of a [Backend] are fixed once it is used; all methods may be
// called from any goroutine. A [Conn] belongs to whoever got it until Release.
//
// # Timeouts
//
// AcquireTimeout bounds the wait for a free connection, ConnectTimeout the
// dialling with its TLS handshake. Then each phase of an exchange has its limit:
// WriteTimeout for each piece that is sent, HeaderTimeout for the head of the
// answer, ReadTimeout for each wait for more of its body (protocols call [Conn.Arm]
// and [Conn.ArmBody]). All of them are Timeout where nothing else is said.
// RequestTimeout bounds the whole. The context given to Get bounds the wait and the
// dialling together.
//
// # State
//
//	usable --connect failed, MarkError--> error --Retry elapsed--> trial --ok--> usable
//	                                        ▲                        │
//	                                        └────────── failed ──────┘
//
// In the error state requests are refused with an [*UnusableError] that says
// until when; clients are told so by Retry-After. In the trial state one request
// probes the backend and all others are refused. With Retry zero, the default,
// the backend is never left alone: each request tries, as Apache does for a
// ProxyPass without a balancer. The machine is [Health]; each member of a balancer
// has one of its own.
//
// # Whom a connection serves
//
// Most connections serve everybody. One that was announced by a PROXY header, that
// was made for a name (ServerNameFromHost), or on which somebody has logged in
// ([Backend.GetFor]), serves its [Audience] alone. The names that clients bring are
// not trusted: they fill no more than MaxIdle unused connections, and put no backend
// into the error state.
//
// # Security
//
// Addresses come from configuration alone: nothing here reads a URL of a
// client. TLS certificates are verified unless the TLS field says otherwise.
//
// # Differences from Apache
//
// Limits hold for the whole process, not for each child. Names are resolved
// anew (AddressTTL) instead of once. All addresses of a name are tried in
// parallel when the first is slow (RFC 8305). A full pool is not an error of
// the backend. After an error one request probes, not all.
package backend
