package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// limit is the Timeout of the backends that misbehave.
const limit = 10 * time.Second

// peer is the backend's end of a connection.
type peer struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
	n int // which connection it is, from 1
}

// script is what a peer does with a connection.
type script func(p *peer)

// silent takes everything and says nothing.
func silent(p *peer) { _, _ = io.Copy(io.Discard, p.Conn) }

// deaf takes nothing, and says nothing.
func deaf(p *peer) { <-p.t.Context().Done() }

// readsLittle takes a few bytes.
func readsLittle(p *peer) {
	_, _ = p.r.ReadByte()
	deaf(p)
}

// dripReads takes a byte just before each limit.
func dripReads(p *peer) {
	for {
		time.Sleep(limit * 9 / 10)
		if _, err := p.Read(make([]byte, 1)); err != nil {
			return
		}
	}
}

// says says something and is silent then.
func says(text string) script {
	return func(p *peer) {
		if _, err := io.WriteString(p, text); err == nil {
			silent(p)
		}
	}
}

// insists says something again and again, with a pause before each time, and
// takes nothing.
func insists(text string, pause time.Duration) script {
	return func(p *peer) {
		for {
			time.Sleep(pause)
			if _, err := io.WriteString(p, text); err != nil {
				return
			}
		}
	}
}

// repeats does the same, and takes everything.
func repeats(text string, pause time.Duration) script {
	return func(p *peer) {
		go silent(p)
		insists(text, pause)(p)
	}
}

// floods says it as often as a network could carry it, for a clock that stands
// still while anything runs.
func floods(text string) script { return repeats(text, 5*time.Millisecond) }

// drips says it again and again just before the limit.
func drips(text string) script { return repeats(text, limit*9/10) }

// dripsBytes says it byte by byte, each just before the limit.
func dripsBytes(text string) script {
	return func(p *peer) {
		go silent(p)
		for i := 0; ; i++ {
			time.Sleep(limit * 9 / 10)
			if _, err := io.WriteString(p, text[i%len(text):i%len(text)+1]); err != nil {
				return
			}
		}
	}
}

// after says something and goes on with then.
func after(text string, then script) script {
	return func(p *peer) {
		if _, err := io.WriteString(p, text); err == nil {
			then(p)
		}
	}
}

// misbehaviour is one row: what a backend does, and what becomes of the
// exchange.
type misbehaviour struct {
	does   script
	status int  // what the client is told; 0 if its answer is cut
	waits  int  // how many times the limit it may take; 0 means once
	other  bool // it is not a time limit that is told
	unread bool // it is not the request that is taken first
	hangs  bool // dialling never returns
	upload bool // the request has a body without an end
	path   string
	change func(b *backend.Backend)
}

// spoken is a protocol and those who speak it badly.
type spoken struct {
	url       string
	transport func(b *backend.Backend) http.RoundTripper // nil: a proxy.Transport
	request   func(r *http.Request)
	reads     func(p *peer) bool // takes the request
	rows      map[string]misbehaviour
}

var protocols = map[string]spoken{
	"http": http1, "http upgrade": upgrade, "https": handshake, "h2": handshake2, "PROXY": announced, "h2c": http2Peers,
	"fcgi": fastCGI, "ajp": ajp13, "ftp": ftpServer, "ftps": handshakeFTPS, "ftpes": handshakeFTPES, "CONNECT": parent, "SOCKS": socks,
	"http ping": ping1, "ajp ping": pingAJP,
}

// TestDeadlines: whatever a backend does, at whatever step, its Timeout ends
// the exchange, and nothing is left of it.
func TestDeadlines(t *testing.T) {
	for name, p := range protocols {
		t.Run(name, func(t *testing.T) {
			for name, row := range p.rows {
				t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { row.run(t, p) }) })
			}
		})
	}
}

func (m misbehaviour) run(t *testing.T, p spoken) {
	u, err := url.Parse(p.url)
	require.NoError(t, err)
	b := &backend.Backend{URL: u, Timeout: limit}
	if m.change != nil {
		m.change(b)
	}
	var open atomic.Int32
	b.DialContext = func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		open.Add(1)
		if m.hangs {
			time.Sleep(3 * limit)
			return &counted{Conn: near, open: &open}, nil
		}
		peer := &peer{Conn: far, t: t, r: bufio.NewReader(far), n: int(open.Load())}
		go func() {
			defer far.Close()
			if m.unread || p.reads == nil || p.reads(peer) {
				m.does(peer)
			}
		}()
		return &counted{Conn: near, open: &open}, nil
	}
	var tr http.RoundTripper = &proxy.Transport{Backend: b}
	if p.transport != nil {
		tr = p.transport(b)
	}
	var record *exchange.Record
	h := &proxy.Handler{Target: u, Transport: tr, Upgrades: []string{"websocket"}, OnRecord: func(_ *http.Request, r *exchange.Record) { record = r }}
	if m.path == "" {
		m.path = "/dir/file"
	}
	r := httptest.NewRequest("GET", "http://front.test"+m.path, nil)
	if m.upload {
		r = httptest.NewRequest("PUT", "http://front.test"+m.path, neverEnds{})
		r.ContentLength = 1 << 50
	}
	if p.request != nil {
		p.request(r)
	}
	w := &client{header: make(http.Header)}
	leave := func() {
		tr.(interface{ CloseIdleConnections() }).CloseIdleConnections()
		_ = b.Close()
		time.Sleep(4 * limit)
	}
	defer leave()
	begun := time.Now()
	// What no limit ends, ends by the client, too late.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	defer time.AfterFunc(50*limit, cancel).Stop()
	aborted := proxy.Aborts(h, w, r.WithContext(ctx))
	took := time.Since(begun)
	require.Equal(t, record.Aborted, aborted)
	if m.status == 0 {
		require.True(t, aborted, "%d, %v", w.status, record.Err)
	} else {
		require.Equal(t, m.status, w.status, "%v", record.Err)
	}
	if took >= limit && !m.other && (m.status == 0 || m.status > http.StatusBadGateway) {
		var ne net.Error
		require.ErrorAs(t, record.Err, &ne)
		require.True(t, ne.Timeout(), "%v", record.Err)
		require.True(t, errors.Is(record.Err, os.ErrDeadlineExceeded) || errors.Is(record.Err, context.DeadlineExceeded), "%v", record.Err)
	}
	require.LessOrEqual(t, took, time.Duration(max(m.waits, 1))*(limit+limit/8)+limit/5, "%v", record.Err)
	leave()
	require.Zero(t, b.Stats().Busy)
	require.Zero(t, b.Stats().Open)
	require.Zero(t, open.Load(), "connections")
}

// counted counts the connections that are open.
type counted struct {
	net.Conn
	open *atomic.Int32
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

// client is a ResponseWriter that takes everything.
type client struct {
	header http.Header
	status int
}

func (c *client) Header() http.Header { return c.header }

func (c *client) WriteHeader(status int) {
	if c.status == 0 && status >= 200 {
		c.status = status
	}
}

func (c *client) Write(p []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	return len(p), nil
}

// neverEnds is a body without an end.
type neverEnds struct{}

func (neverEnds) Read(p []byte) (int, error) { return len(p), nil }

// common are those that speak no protocol at all.
func common(more map[string]misbehaviour) map[string]misbehaviour {
	rows := map[string]misbehaviour{
		"nothing":                      {does: silent, status: 504},
		"reads nothing":                {does: deaf, status: 504, unread: true},
		"drips through a request":      {does: dripReads, status: 504, unread: true},
		"drips through an upload":      {does: dripReads, status: 504, unread: true, upload: true},
		"reads little of an upload":    {does: readsLittle, status: 504, unread: true, upload: true},
		"dial hangs":                   {hangs: true, status: 503},
		"dial hangs, connects in time": {hangs: true, status: 503, change: func(b *backend.Backend) { b.ConnectTimeout, b.Timeout = limit, -1 }},
	}
	for name, row := range more {
		rows[name] = row
	}
	return rows
}

// heads says what every peer of HTTP/1 can do before its head is whole.
func heads(more map[string]misbehaviour) map[string]misbehaviour {
	rows := common(map[string]misbehaviour{
		"stops in the head":            {does: says("HTTP/1.1 200 OK\r\nA: b"), status: 504},
		"drips a head":                 {does: dripsBytes("HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n"), status: 504},
		"drips lines of a head":        {does: after("HTTP/1.1 200 OK\r\n", drips("A: b\r\n")), status: 504},
		"endless lines":                {does: after("HTTP/1.1 200 OK\r\n", floods("A: b\r\n")), status: 504},
		"endless long lines":           {does: after("HTTP/1.1 200 OK\r\n", floods("A: "+strings.Repeat("b", 4000)+"\r\n")), status: 502},
		"endless line":                 {does: floods(strings.Repeat("b", 4000)), status: 502},
		"endless interim answers":      {does: floods("HTTP/1.1 102 Processing\r\n\r\n"), status: 502},
		"drips interim answers":        {does: drips("HTTP/1.1 102 Processing\r\n\r\n"), status: 502, waits: 10},
		"drips 100":                    {does: drips("HTTP/1.1 100 Continue\r\n\r\n"), status: 502, waits: 10},
		"nothing after an interim one": {does: says("HTTP/1.1 103 Early Hints\r\n\r\n"), status: 504},
		"drips after an interim one":   {does: after("HTTP/1.1 103 Early Hints\r\n\r\n", dripsBytes("HTTP/1.1 200 OK\r\nA: b\r\n")), status: 504},
	})
	for name, row := range more {
		rows[name] = row
	}
	return rows
}

// readsHead takes a head of HTTP/1.
func readsHead(p *peer) bool {
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == "\r\n" {
			return true
		}
	}
}

const chunkedHead = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

var http1 = spoken{
	url:   "http://b.test",
	reads: readsHead,
	rows: heads(map[string]misbehaviour{
		"no body":                    {does: says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")},
		"body stops":                 {does: says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")},
		"body without length stops":  {does: says("HTTP/1.0 200 OK\r\n\r\nabc")},
		"no chunk":                   {does: says(chunkedHead)},
		"drips the size of a chunk":  {does: after(chunkedHead, dripsBytes("0"))},
		"drips an extension":         {does: after(chunkedHead+"5;", dripsBytes("a"))},
		"endless extension":          {does: after(chunkedHead+"5;", floods(strings.Repeat("a", 1000)))},
		"endless extensions":         {does: after(chunkedHead, floods("1;"+strings.Repeat("a", 4000)+"\r\nb\r\n"))},
		"drips a trailer":            {does: after(chunkedHead+"0\r\n", dripsBytes("A: b\r\n"))},
		"drips lines of a trailer":   {does: after(chunkedHead+"0\r\n", drips("A: b\r\n"))},
		"endless trailer":            {does: after(chunkedHead+"0\r\n", floods("A: "+strings.Repeat("b", 4000)+"\r\n"))},
		"stops before the last CRLF": {does: says(chunkedHead + "1\r\na\r\n0\r\n")},
	}),
}

var upgrade = spoken{
	url: "ws://b.test",
	request: func(r *http.Request) {
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
		r.Header.Set("Sec-WebSocket-Version", "13")
	},
	reads: readsHead,
	rows: heads(map[string]misbehaviour{
		"drips the switch": {does: dripsBytes("HTTP/1.1 101 Switching Protocols\r\nA: b\r\n"), status: 504},
	}),
}

// unshaken are those that never finish a handshake of TLS.
var unshaken = map[string]misbehaviour{
	"nothing":                 {does: silent, status: 503},
	"reads nothing":           {does: deaf, status: 503},
	"drips a record":          {does: dripsBytes("\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + strings.Repeat("\x00", 100)), status: 503},
	"drips records":           {does: drips("\x16\x03\x03\x00\x01\x02"), status: 503},
	"endless empty records":   {does: floods("\x16\x03\x03\x00\x00"), status: 503},
	"hangs before":            {hangs: true, status: 503},
	"drips, connects in time": {does: dripsBytes("\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"), status: 503, change: func(b *backend.Backend) { b.ConnectTimeout, b.Timeout = limit, -1 }},
}

var handshake = spoken{url: "https://b.test", rows: unshaken}

var handshake2 = spoken{url: "h2://b.test", rows: unshaken}

var announced = spoken{url: "http://b.test", rows: map[string]misbehaviour{
	"reads nothing": {does: deaf, status: 503, change: func(b *backend.Backend) { b.ProxyProtocol = backend.ProxyProtocolV1 }},
	"reads it alone": {does: func(p *peer) {
		_, _ = p.r.ReadString('\n')
		deaf(p)
	}, status: 504, change: func(b *backend.Backend) { b.ProxyProtocol = backend.ProxyProtocolV1 }},
	"before TLS": {does: deaf, status: 503, change: func(b *backend.Backend) {
		b.ProxyProtocol, b.TLS = backend.ProxyProtocolV2, &tls.Config{InsecureSkipVerify: true}
	}},
}}
