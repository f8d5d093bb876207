package ftpproxy

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestForeignPassiveAddress: data connections go to the server's own address.
func TestForeignPassiveAddress(t *testing.T) {
	s := startScripted(t)
	s.on["EPSV"] = func(c *scriptedConn, _ string) { c.say("500 what?") }
	s.on["PASV"] = func(c *scriptedConn, _ string) {
		port := c.listen()
		c.say(fmt.Sprintf("227 there (203,0,113,9,%d,%d)", port>>8, port&255))
	}
	rt := s.transport(patience)
	for range 2 {
		_, text, err := ask(t.Context(), rt, "GET", "/f", nil)
		require.NoError(t, err)
		require.Equal(t, s.file, text)
	}
}

func TestBadPorts(t *testing.T) {
	for _, reply := range []string{
		"229 (|||0|)", "229 (|||65536|)", "229 (|||-1|)", "229 (|||abc|)", "229 nothing", "229 (||||)", "229 (|||1e3|)",
	} {
		s := startScripted(t)
		s.on["EPSV"] = func(c *scriptedConn, _ string) { c.say(reply) }
		_, _, err := ask(t.Context(), s.transport(patience), "GET", "/f", nil)
		require.Equal(t, 502, exchange.StatusOf(err), "%s: %v", reply, err)
	}
	for _, reply := range []string{"227 (127,0,0,1,0,0)", "227 (127,0,0,1,300,1)", "227 (127,0,0,1,1)", "227 nothing", "227 )(", "227 (a,b,c,d,e,f)", "227 (127,0,0,1,-1,255)"} {
		s := startScripted(t)
		s.on["EPSV"] = func(c *scriptedConn, _ string) { c.say("500 no") }
		s.on["PASV"] = func(c *scriptedConn, _ string) { c.say(reply) }
		_, _, err := ask(t.Context(), s.transport(patience), "GET", "/f", nil)
		require.Equal(t, 502, exchange.StatusOf(err), "%s: %v", reply, err)
	}
}

// TestDataPortClosed: a port at which nobody listens.
func TestDataPortClosed(t *testing.T) {
	s := startScripted(t)
	s.on["EPSV"] = func(c *scriptedConn, _ string) {
		port := c.listen()
		_ = c.data.Close()
		c.say(fmt.Sprintf("229 (|||%d|)", port))
	}
	_, _, err := ask(t.Context(), s.transport(patience), "GET", "/f", nil)
	require.Equal(t, 502, exchange.StatusOf(err), "%v", err)
	require.ErrorContains(t, err, "data connection")
}
