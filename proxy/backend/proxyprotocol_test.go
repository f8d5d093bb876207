package backend

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/proxyprotocol"
)

// announcedTo returns the PROXY header of a backend for ctx.
func announcedTo(t *testing.T, ctx context.Context, b *Backend) *proxyprotocol.Header {
	near, far := net.Pipe()
	defer near.Close()
	l := &proxyprotocol.Listener{Listener: &oneConn{c: far, done: make(chan struct{})}}
	defer l.Close()
	b.DialContext = func(context.Context, string, string) (net.Conn, error) { return near, nil }
	type outcome struct {
		c   *Conn
		err error
	}
	got := make(chan outcome, 1)
	go func() {
		c, err := b.Get(ctx)
		got <- outcome{c, err}
	}()
	c, err := l.Accept()
	require.NoError(t, err)
	o := <-got
	require.NoError(t, o.err)
	o.c.Release(false)
	return c.(*proxyprotocol.Conn).Header()
}

// oneConn is a listener to whom one connects over a unix-domain socket.
type oneConn struct {
	c    net.Conn
	done chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if c := l.c; c != nil {
		l.c = nil
		return local{c}, nil
	}
	<-l.done
	return nil, net.ErrClosed
}
func (l *oneConn) Close() error   { close(l.done); return nil }
func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{} }

type local struct{ net.Conn }

func (local) RemoteAddr() net.Addr { return &net.UnixAddr{} }

// TestProxyProtocolFacts: what is told, and where it comes from.
func TestProxyProtocolFacts(t *testing.T) {
	type idKey struct{}
	all := []byte{proxyprotocol.TypeALPN, proxyprotocol.TypeAuthority, proxyprotocol.TypeSSL}
	cert := &x509.Certificate{Subject: pkix.Name{CommonName: "client"}}
	long := &x509.Certificate{Subject: pkix.Name{CommonName: strings.Repeat("x", 1000)}}
	state := tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, NegotiatedProtocol: "h2", ServerName: "site.test"}
	verified, shown, tooLong := state, state, state
	verified.PeerCertificates, verified.VerifiedChains = []*x509.Certificate{cert}, [][]*x509.Certificate{{cert}}
	shown.PeerCertificates = verified.PeerCertificates
	tooLong.PeerCertificates, tooLong.VerifiedChains = []*x509.Certificate{long}, [][]*x509.Certificate{{long}}
	ssl := proxyprotocol.SSL{TLS: true, Version: "TLSv1.3", Cipher: "TLS_AES_128_GCM_SHA256"}
	with := func(change func(*proxyprotocol.SSL)) *proxyprotocol.SSL {
		s := ssl
		change(&s)
		return &s
	}
	for name, tc := range map[string]struct {
		tlvs      []byte
		tls       *tls.ConnectionState
		id        string
		check     bool
		alpn, sni string
		ssl       *proxyprotocol.SSL
	}{
		"none by default":          {tls: &state},
		"all":                      {tlvs: all, tls: &state, id: "1", alpn: "h2", sni: "site.test", ssl: &ssl},
		"ALPN":                     {tlvs: all[:1], tls: &state, alpn: "h2"},
		"SNI":                      {tlvs: all[1:2], tls: &state, sni: "site.test"},
		"without TLS":              {tlvs: all, ssl: &proxyprotocol.SSL{}},
		"a verified certificate":   {tlvs: all[2:], tls: &verified, ssl: with(func(s *proxyprotocol.SSL) { s.Certificate, s.Verified, s.CommonName = true, true, "client" })},
		"an unverified one":        {tlvs: all[2:], tls: &shown, ssl: with(func(s *proxyprotocol.SSL) { s.Certificate = true })},
		"one with too long a name": {tlvs: all[2:], tls: &tooLong, ssl: with(func(s *proxyprotocol.SSL) { s.Certificate, s.Verified = true, true })},
		"an id":                    {id: "an id"},
		"a check":                  {tlvs: all, tls: &state, id: "1", check: true},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := Parse("http://backend.test")
			require.NoError(t, err)
			defer b.Close()
			b.ProxyProtocol, b.ProxyProtocolTLVs = ProxyProtocolV2, tc.tlvs
			b.UniqueID = func(ctx context.Context) string { s, _ := ctx.Value(idKey{}).(string); return s }
			c := ClientFrom("[2001:db8::1%eth0]:5", nil)
			c.TLS = tc.tls
			ctx := context.WithValue(WithClient(t.Context(), c), idKey{}, tc.id)
			if tc.check {
				ctx = WithCheck(ctx)
			}
			h := announcedTo(t, ctx, b)
			if tc.check {
				require.Equal(t, &proxyprotocol.Header{Version: 2}, h)
				return
			}
			require.Equal(t, "[2001:db8::1]:5", h.Source.String())
			require.Equal(t, "[::]:0", h.Destination.String())
			for kind, want := range map[byte]string{proxyprotocol.TypeALPN: tc.alpn, proxyprotocol.TypeAuthority: tc.sni, proxyprotocol.TypeUniqueID: tc.id} {
				v, ok := h.Value(kind)
				require.Equal(t, want, string(v))
				require.Equal(t, want != "", ok)
			}
			v, ok := h.Value(proxyprotocol.TypeSSL)
			require.Equal(t, tc.ssl != nil, ok)
			if ok {
				got, err := proxyprotocol.ParseSSL(v)
				require.NoError(t, err)
				require.Equal(t, *tc.ssl, got)
			}
		})
	}
}

// TestProxyProtocolFields: what cannot take effect is an error.
func TestProxyProtocolFields(t *testing.T) {
	id := func(n int) func(context.Context) string {
		return func(context.Context) string { return strings.Repeat("x", n) }
	}
	for name, b := range map[string]*Backend{
		"no such version":        {ProxyProtocol: 3},
		"a negative version":     {ProxyProtocol: -1},
		"TLVs in version 1":      {ProxyProtocol: ProxyProtocolV1, ProxyProtocolTLVs: []byte{proxyprotocol.TypeALPN}},
		"TLVs without PROXY":     {ProxyProtocolTLVs: []byte{proxyprotocol.TypeALPN}},
		"a unique id, version 1": {ProxyProtocol: ProxyProtocolV1, UniqueID: id(1)},
		"a listed unique id":     {ProxyProtocol: ProxyProtocolV2, ProxyProtocolTLVs: []byte{proxyprotocol.TypeUniqueID}},
		"an unknown TLV":         {ProxyProtocol: ProxyProtocolV2, ProxyProtocolTLVs: []byte{0xe0}},
		"too long an id":         {ProxyProtocol: ProxyProtocolV2, UniqueID: id(129)},
	} {
		sound, err := Parse("http://backend.test")
		require.NoError(t, err)
		b.URL = sound.URL
		b.DialContext = func(context.Context, string, string) (net.Conn, error) { panic("dialled") }
		_, err = b.Get(WithClient(t.Context(), ClientFrom("192.0.2.1:1", nil)))
		require.ErrorContains(t, err, "backend: ", name)
		require.Equal(t, StateUsable, b.State(), name)
		require.NoError(t, b.Close())
	}
}

// TestClientFrom: addresses of whatever form that a server or middleware gives.
func TestClientFrom(t *testing.T) {
	v4 := netip.MustParseAddrPort("192.0.2.1:5")
	require.Equal(t, Client{}, ClientFrom("@", nil))
	require.Equal(t, Client{}, ClientFrom("", &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80}))
	require.Equal(t, Client{Source: v4}, ClientFrom("[::ffff:192.0.2.1]:5", nil))
	require.Equal(t, Client{Source: v4}, ClientFrom("192.0.2.1:5", &net.UnixAddr{Name: "/run/front.sock"}))
	require.Equal(t, Client{Source: netip.MustParseAddrPort("192.0.2.1:0")}, ClientFrom("192.0.2.1", nil))
	require.Equal(t, ClientFrom("2001:db8::1", nil), ClientFrom("[2001:db8::1]", nil))
	require.True(t, ClientFrom("[2001:db8::1]", nil).Source.IsValid())
	require.Equal(t, Client{v4, netip.MustParseAddrPort("10.0.0.1:80"), nil}, ClientFrom("192.0.2.1:5", &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80}))
}
