package proxy_test

import (
	"context"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
)

// apart sets the time limit of one phase, and those of all others so that they do
// not matter.
func apart(field func(b *backend.Backend) *time.Duration) map[string]func(b *backend.Backend) {
	set := func(others time.Duration) func(b *backend.Backend) {
		return func(b *backend.Backend) {
			b.Timeout = others
			*field(b) = limit
		}
	}
	return map[string]func(b *backend.Backend){"others none": set(-1), "others long": set(100 * limit), "others for ever": set(math.MaxInt64)}
}

var (
	connectTimeout = apart(func(b *backend.Backend) *time.Duration { return &b.ConnectTimeout })
	writeTimeout   = apart(func(b *backend.Backend) *time.Duration { return &b.WriteTimeout })
	headerTimeout  = apart(func(b *backend.Backend) *time.Duration { return &b.HeaderTimeout })
	readTimeout    = apart(func(b *backend.Backend) *time.Duration { return &b.ReadTimeout })
	requestTimeout = apart(func(b *backend.Backend) *time.Duration { return &b.RequestTimeout })
)

// slowly says bytes one after the other, well within any limit, for ever.
func slowly(text string) script { return repeats(text, limit/10) }

// TestDeadlinesApart: each phase of an exchange has its own limit, over every
// protocol, and the limits of the others do not end it.
func TestDeadlinesApart(t *testing.T) {
	ajpBody := func(then script) script { return after(ajpHead, then) }
	for name, rows := range map[string]map[string]struct {
		misbehaviour
		limits map[string]func(b *backend.Backend)
	}{
		"http": {
			"connect":            {misbehaviour{hangs: true, status: 503}, connectTimeout},
			"write":              {misbehaviour{does: readsLittle, unread: true, upload: true, status: 504}, writeTimeout},
			"write a head":       {misbehaviour{does: deaf, unread: true, status: 504}, writeTimeout},
			"head":               {misbehaviour{does: silent, status: 504}, headerTimeout},
			"in the head":        {misbehaviour{does: says("HTTP/1.1 200 OK\r\nA: b"), status: 504}, headerTimeout},
			"body":               {misbehaviour{does: says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")}, readTimeout},
			"chunks":             {misbehaviour{does: says(chunkedHead)}, readTimeout},
			"whole, in the head": {misbehaviour{does: silent, status: 504}, requestTimeout},
			"whole, in a body":   {misbehaviour{does: after(chunkedHead, slowly("1\r\na\r\n"))}, requestTimeout},
			"whole, connecting":  {misbehaviour{hangs: true, status: 504}, requestTimeout},
			"whole, uploading":   {misbehaviour{does: readsLittle, unread: true, upload: true, status: 504}, requestTimeout},
		},
		"h2c": {
			"connect":            {misbehaviour{hangs: true, status: 503}, connectTimeout},
			"write":              {misbehaviour{does: begins(silent), upload: true, status: 504}, writeTimeout},
			"write a head":       {misbehaviour{does: deaf, unread: true, status: 504}, writeTimeout},
			"head":               {misbehaviour{does: begins(silent), status: 504}, headerTimeout},
			"body":               {misbehaviour{does: headed(silent)}, readTimeout},
			"whole, in the head": {misbehaviour{does: begins(silent), status: 504}, requestTimeout},
			"whole, in a body":   {misbehaviour{does: headed(slowly(frame(0, 0, 1, "a")))}, requestTimeout},
			"whole, connecting":  {misbehaviour{hangs: true, status: 504}, requestTimeout},
		},
		"fcgi": {
			"connect":            {misbehaviour{hangs: true, status: 503}, connectTimeout},
			"write":              {misbehaviour{does: readsLittle, unread: true, upload: true, status: 504}, writeTimeout},
			"head":               {misbehaviour{does: silent, status: 504}, headerTimeout},
			"body":               {misbehaviour{does: says(cgiHead)}, readTimeout},
			"whole, in the head": {misbehaviour{does: silent, status: 504}, requestTimeout},
			"whole, in a body":   {misbehaviour{does: after(cgiHead, slowly(record(stdout, 1, "a")))}, requestTimeout},
			"whole, connecting":  {misbehaviour{hangs: true, status: 504}, requestTimeout},
		},
		"ajp": {
			"connect":            {misbehaviour{hangs: true, status: 503}, connectTimeout},
			"write":              {misbehaviour{does: readsLittle, unread: true, upload: true, status: 504}, writeTimeout},
			"head":               {misbehaviour{does: silent, status: 504}, headerTimeout},
			"body":               {misbehaviour{does: ajpBody(silent)}, readTimeout},
			"whole, in the head": {misbehaviour{does: silent, status: 504}, requestTimeout},
			"whole, in a body":   {misbehaviour{does: ajpBody(slowly(packet("\x03\x00\x02ab\x00")))}, requestTimeout},
			"whole, connecting":  {misbehaviour{hangs: true, status: 504}, requestTimeout},
		},
		"ftp": {
			"connect":            {misbehaviour{hangs: true, status: 503}, connectTimeout},
			"head":               {misbehaviour{does: ftpAt("RETR", silent), status: 504}, headerTimeout},
			"body":               {misbehaviour{does: ftpAt("data", says("abc"), "SIZE: 213 100000")}, readTimeout},
			"write":              {misbehaviour{does: ftpAt("data", deaf, "SIZE: 550 no"), upload: true, status: 504}, writeTimeout},
			"whole, in the head": {misbehaviour{does: ftpAt("RETR", silent), status: 504}, requestTimeout},
			"whole, connecting":  {misbehaviour{hangs: true, status: 504}, requestTimeout},
		},
	} {
		for phase, row := range rows {
			for others, change := range row.limits {
				t.Run(name+"/"+phase+"/"+others, func(t *testing.T) {
					m := row.misbehaviour
					m.change = change
					synctest.Test(t, func(t *testing.T) { m.run(t, protocols[name]) })
				})
			}
		}
	}
}

// TestDeadlinesThatDoNotMatter: a limit of a phase does not end what is slow in
// another, nor does the longest time there is.
func TestDeadlinesThatDoNotMatter(t *testing.T) {
	answers := map[string]string{
		"http": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n|ab",
		"h2c":  frame(1, endOfHead, 1, ok200) + "|" + frame(0, 1, 1, "ab"),
		"fcgi": cgiHead + "|" + record(stdout, 1, "ab") + record(3, 1, "\x00\x00\x00\x00\x00\x00\x00\x00"),
		"ajp":  ajpHead + "|" + packet("\x03\x00\x02ab\x00") + packet("\x05\x01"),
	}
	for name, answer := range answers {
		for limits, change := range map[string]func(b *backend.Backend){
			"for ever": func(b *backend.Backend) { b.Timeout = math.MaxInt64 },
			"a while":  func(b *backend.Backend) { b.Timeout = 50 * 365 * 24 * time.Hour },
			"each for ever": func(b *backend.Backend) {
				b.ConnectTimeout, b.WriteTimeout, b.HeaderTimeout, b.ReadTimeout, b.RequestTimeout = math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64
			},
			"none":        func(b *backend.Backend) { b.Timeout, b.RequestTimeout = -1, -1 },
			"of the body": func(b *backend.Backend) { b.Timeout, b.HeaderTimeout, b.ReadTimeout = -1, 4*limit, 2*limit },
			"of the head": func(b *backend.Backend) { b.Timeout, b.HeaderTimeout, b.ReadTimeout = limit, 4*limit, 4*limit },
			"of writing":  func(b *backend.Backend) { b.Timeout, b.WriteTimeout = 4*limit, time.Millisecond },
			"others for ever": func(b *backend.Backend) {
				b.IdleTTL, b.AddressTTL, b.Retry, b.AcquireTimeout, b.KeepAlive, b.MaxConns = math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64, 1
				b.Timeout = 4 * limit
			},
		} {
			t.Run(name+"/"+limits, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					head, body, _ := strings.Cut(answer, "|")
					answers := script(func(p *peer) {
						time.Sleep(3 * limit)
						_, _ = io.WriteString(p, head)
						if limits == "of the body" {
							time.Sleep(limit)
						} else {
							time.Sleep(3 * limit)
						}
						_, _ = io.WriteString(p, body)
						silent(p)
					})
					if name == "h2c" {
						answers = begins(answers)
					}
					// m.run checks times and errors of what fails; here nothing does.
					m := misbehaviour{does: answers, status: 200, waits: 7, change: change}
					m.run(t, protocols[name])
				})
			})
		}
	}
}

// TestConnectionsKeptUnderLimitsApart: limits that differ are set anew for each
// use of a connection, and left on none.
func TestConnectionsKeptUnderLimitsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		b, err := backend.Parse("http://b.test")
		require.NoError(t, err)
		defer b.Close()
		b.WriteTimeout, b.HeaderTimeout, b.ReadTimeout, b.IdleTTL = limit, 3*limit, 2*limit, -1
		b.DialContext = func(context.Context, string, string) (net.Conn, error) { return near, nil }
		defer far.Close()
		for range 3 {
			c, err := b.Get(t.Context())
			require.NoError(t, err)
			c.Arm(0)
			begun := time.Now()
			_, err = c.Write([]byte("x"))
			require.Error(t, err)
			require.LessOrEqual(t, time.Since(begun), limit+limit/8)
			_, err = c.Read(make([]byte, 1))
			require.Error(t, err)
			require.GreaterOrEqual(t, time.Since(begun), 3*limit)
			c.ArmBody()
			begun = time.Now()
			_, err = c.Read(make([]byte, 1))
			require.Error(t, err)
			require.GreaterOrEqual(t, time.Since(begun), 2*limit)
			require.LessOrEqual(t, time.Since(begun), 3*limit)
			c.Arm(-1)
			time.Sleep(time.Hour)
			go func() { _, _ = far.Write([]byte("y")) }()
			_, err = io.ReadFull(c, make([]byte, 1))
			require.NoError(t, err)
			require.True(t, c.Release(true))
		}
	})
}
