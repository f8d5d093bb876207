// Package exchangetest is for those who write a transport: it checks that the
// transport fails as those of this library do, as testing/fstest does for file
// systems. It runs the transport against a
// backend that refuses, stalls or breaks off in each phase of an exchange, and
// against clients that leave in each. After each check nothing may be left
// over: no goroutine, no connection that is neither closed nor in the pool, no
// body of a request that is not closed.
//
// A test of a transport is one call, and a [Server], which is the backend's
// side of its protocol:
//
//	func TestTransport(t *testing.T) {
//		exchangetest.TestTransport(t, exchangetest.Protocol{
//			URL:       "mine://backend.test",
//			Transport: func(b *backend.Backend) http.RoundTripper { return &Transport{Backend: b} },
//			Server:    func(c net.Conn) exchangetest.Server { return newServer(c) },
//		})
//	}
//
// The checks run over net.Pipe in bubbles of testing/synctest, where a minute
// costs nothing. Those of connections that the backend closes while they are
// idle run over TCP as well, since it is only there that a transport can see it
// before it has written.
package exchangetest
