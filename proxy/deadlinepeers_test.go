package proxy_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http2"
	netproxy "golang.org/x/net/proxy"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// frame is one frame of HTTP/2.
func frame(kind http2.FrameType, flags http2.Flags, stream uint32, payload string) string {
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), byte(kind), byte(flags)}
	return string(binary.BigEndian.AppendUint32(head, stream)) + payload
}

// begins sends the first SETTINGS and goes on with then.
func begins(then script) script {
	return after(frame(http2.FrameSettings, 0, 0, ""), func(p *peer) {
		go silent(p)
		time.Sleep(limit / 20) // until the request is there
		then(p)
	})
}

const (
	ok200     = "\x88"
	status102 = "\x08\x03102"
	endOfHead = http2.FlagHeadersEndHeaders
)

// headed answers a head without an end and goes on with then.
func headed(then script) script {
	return begins(after(frame(http2.FrameHeaders, endOfHead, 1, ok200), then))
}

var http2Peers = spoken{
	url: "h2c://b.test",
	rows: common(map[string]misbehaviour{
		"settings alone":           {does: begins(silent), status: 504},
		"settings, reads nothing":  {does: after(frame(http2.FrameSettings, 0, 0, ""), deaf), status: 504},
		"drips settings":           {does: dripsBytes(frame(http2.FrameSettings, 0, 0, "")), status: 504},
		"endless settings":         {does: begins(floods(frame(http2.FrameSettings, 0, 0, ""))), status: 504},
		"endless pings":            {does: begins(floods(frame(http2.FramePing, 0, 0, "12345678"))), status: 504},
		"drips pings":              {does: begins(drips(frame(http2.FramePing, 0, 0, "12345678"))), status: 504},
		"endless windows":          {does: begins(floods(frame(http2.FrameWindowUpdate, 0, 0, "\x00\x00\x00\x01"))), status: 504},
		"windows of the stream":    {does: begins(drips(frame(http2.FrameWindowUpdate, 0, 1, "\x00\x00\x00\x01"))), status: 504},
		"priorities of the stream": {does: begins(drips(frame(http2.FramePriority, 0, 1, "\x00\x00\x00\x03\x01"))), status: 504},
		"drips a head":             {does: begins(after(frame(http2.FrameHeaders, 0, 1, ok200), drips(frame(http2.FrameContinuation, 0, 1, "\x00\x01a\x01b")))), status: 504},
		"drips a frame":            {does: begins(after("\x00\x3f\x00\x01\x04\x00\x00\x00\x01", dripsBytes(ok200))), status: 504},
		"empty continuations":      {does: begins(after(frame(http2.FrameHeaders, 0, 1, ok200), floods(frame(http2.FrameContinuation, 0, 1, "")))), status: 504},
		"endless continuations": {does: begins(after(frame(http2.FrameHeaders, 0, 1, ok200),
			floods(frame(http2.FrameContinuation, 0, 1, strings.Repeat("\x00\x01a\x7f\x81\x1f"+strings.Repeat("b", 286), 40))))), status: 502},
		"endless interim answers":  {does: begins(floods(frame(http2.FrameHeaders, endOfHead, 1, status102))), status: 502},
		"drips interim answers":    {does: begins(drips(frame(http2.FrameHeaders, endOfHead, 1, status102))), status: 502, waits: 10},
		"drips room for an upload": {does: begins(drips(frame(http2.FrameWindowUpdate, 0, 1, "\x00\x00\x00\x01") + frame(http2.FrameWindowUpdate, 0, 0, "\x00\x00\x00\x01"))), status: 504, upload: true, waits: 2},
		"no body":                  {does: headed(silent)},
		"pings for a body":         {does: headed(floods(frame(http2.FramePing, 0, 0, "12345678")))},
		"empty data":               {does: headed(floods(frame(http2.FrameData, 0, 1, "")))},
		"drips empty data":         {does: headed(drips(frame(http2.FrameData, 0, 1, "")))},
		"drips padding":            {does: headed(drips(frame(http2.FrameData, http2.FlagDataPadded, 1, "\x03\x00\x00\x00")))},
		"drips a frame of data":    {does: headed(after("\x00\x40\x00\x00\x00\x00\x00\x00\x01", drips("")))},
		"drips a trailer":          {does: headed(after(frame(http2.FrameHeaders, http2.FlagHeadersEndStream, 1, ""), drips(frame(http2.FrameContinuation, 0, 1, "\x00\x01a\x01b"))))},
		"endless trailer": {does: headed(after(frame(http2.FrameHeaders, http2.FlagHeadersEndStream, 1, ""),
			floods(frame(http2.FrameContinuation, 0, 1, ""))))},
	}),
}

// record is one record of FastCGI.
func record(kind byte, id uint16, content string) string {
	n := len(content)
	return string([]byte{1, kind, byte(id >> 8), byte(id), byte(n >> 8), byte(n), 0, 0}) + content
}

const (
	stdout = 6
	stderr = 7
	result = 10 // of FCGI_GET_VALUES
)

// readsRecords takes a request of FastCGI up to the end of its body.
func readsRecords(p *peer) bool {
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(p.r, head); err != nil {
			return false
		}
		n := int(binary.BigEndian.Uint16(head[4:]))
		if _, err := p.r.Discard(n + int(head[6])); err != nil {
			return false
		}
		if head[1] == 5 && n == 0 {
			return true
		}
	}
}

var cgiHead = record(stdout, 1, "A: b\r\n\r\n")

var fastCGI = spoken{
	url:       "fcgi://b.test",
	reads:     readsRecords,
	transport: func(b *backend.Backend) http.RoundTripper { return &fcgi.Transport{Backend: b} },
	rows: common(map[string]misbehaviour{
		"drips a record":         {does: dripsBytes(record(stdout, 1, "A: b\r\n")), status: 504},
		"drips a head":           {does: drips(record(stdout, 1, "A: b\r\n")), status: 504},
		"endless head":           {does: floods(record(stdout, 1, "A: "+strings.Repeat("b", 4000)+"\r\n")), status: 502},
		"endless error output":   {does: floods(record(stderr, 1, "PHP message: no\n")), status: 504},
		"drips error output":     {does: drips(record(stderr, 1, "PHP message: no\n")), status: 504},
		"empty error output":     {does: floods(record(stderr, 1, "")), status: 504},
		"empty output":           {does: floods(record(stdout, 1, "")), status: 504},
		"drips empty output":     {does: drips(record(stdout, 1, "")), status: 504},
		"answers to no question": {does: floods(record(result, 0, "")), status: 504},
		"drips such answers":     {does: drips(record(result, 0, "12345678")), status: 504},
		"another request's":      {does: floods(record(stdout, 2, "A: b\r\n\r\n")), status: 502},
		"no body":                {does: says(cgiHead)},
		"error output in body":   {does: after(cgiHead, floods(record(stderr, 1, "no\n")))},
		"drips it in the body":   {does: after(cgiHead, drips(record(stderr, 1, "no\n")))},
		"fills buffers with it":  {does: after(cgiHead, floods(record(stderr, 1, strings.Repeat("x", 40000))))},
		"empty output in body":   {does: after(cgiHead, drips(record(stdout, 1, "")))},
		"answers in body":        {does: after(cgiHead, drips(record(result, 0, "")))},
		"no end":                 {does: after(cgiHead, says(record(stdout, 1, "abc")+record(stdout, 1, "")))},
	}),
}

// packet is one packet of AJP toward the proxy.
func packet(payload string) string {
	return "AB" + string([]byte{byte(len(payload) >> 8), byte(len(payload))}) + payload
}

// readsPacket takes the head of a request of AJP.
func readsPacket(p *peer) bool {
	head := make([]byte, 4)
	if _, err := io.ReadFull(p.r, head); err != nil {
		return false
	}
	_, err := p.r.Discard(int(binary.BigEndian.Uint16(head[2:])))
	return err == nil
}

var (
	asksForMore = packet("\x06\x1f\xfa")
	ajpHead     = packet("\x04\x00\xc8\x00\x02OK\x00\x00\x00")
	emptyChunk  = packet("\x03\x00\x00\x00")
	ajpInterim  = packet("\x04\x00\x66\x00\x00\x00\x00\x00")
)

var ajp13 = spoken{
	url:       "ajp://b.test",
	reads:     readsPacket,
	transport: func(b *backend.Backend) http.RoundTripper { return &ajp.Transport{Backend: b} },
	rows: common(map[string]misbehaviour{
		"drips a packet":           {does: dripsBytes(ajpHead), status: 504},
		"endless wishes":           {does: floods(asksForMore), status: 504},
		"drips wishes":             {does: drips(asksForMore), status: 504},
		"wishes and reads nothing": {does: after(asksForMore, deaf), status: 504},
		"endless interim answers":  {does: floods(ajpInterim), status: 502},
		"drips interim answers":    {does: drips(ajpInterim), status: 502, waits: 10},
		"a CPONG":                  {does: floods(packet("\x09")), status: 502},
		"no body":                  {does: says(ajpHead)},
		"empty chunks":             {does: after(ajpHead, floods(emptyChunk))},
		"drips empty chunks":       {does: after(ajpHead, drips(emptyChunk))},
		"wishes in the body":       {does: after(ajpHead, floods(asksForMore))},
		"drips wishes in the body": {does: after(ajpHead, drips(asksForMore))},
		"empty chunks after data":  {does: after(ajpHead+packet("\x03\x00\x03abc\x00"), drips(emptyChunk))},
		"no end":                   {does: after(ajpHead, says(packet("\x03\x00\x03abc\x00")))},
	}),
}

var pingAJP = spoken{
	url:       "ajp://b.test",
	transport: func(b *backend.Backend) http.RoundTripper { return &ajp.Transport{Backend: b, Ping: limit} },
	rows: map[string]misbehaviour{ // each is asked over a second connection, too
		"nothing":       {does: silent, status: 503, waits: 2},
		"reads nothing": {does: deaf, status: 503, waits: 2},
		"drips":         {does: dripsBytes(packet("\x09")), status: 503, waits: 2},
		"empty chunks":  {does: floods(emptyChunk), status: 503},
	},
}

var ping1 = spoken{
	url:       "http://b.test",
	transport: func(b *backend.Backend) http.RoundTripper { return &proxy.Transport{Backend: b, Ping: limit} },
	reads:     readsHead,
	rows: map[string]misbehaviour{
		"nothing":       {does: silent, status: 503, upload: true},
		"drips a head":  {does: dripsBytes("HTTP/1.1 100 Continue\r\nA: b\r\n"), status: 504, upload: true, waits: 2},
		"drips interim": {does: drips("HTTP/1.1 102 Processing\r\n\r\n"), status: 502, upload: true, waits: 10},
	},
}

// socks is a SOCKS5 server before the backend.
var socks = spoken{
	url: "http://b.test",
	transport: func(b *backend.Backend) http.RoundTripper {
		d, err := netproxy.SOCKS5("tcp", "socks.test:1080", nil, plainDialer(b.DialContext))
		if err != nil {
			panic(err)
		}
		b.DialContext = d.(netproxy.ContextDialer).DialContext
		return &proxy.Transport{Backend: b}
	},
	rows: map[string]misbehaviour{
		"nothing":         {does: silent, status: 503},
		"reads nothing":   {does: deaf, status: 503},
		"dial hangs":      {hangs: true, status: 503},
		"drips":           {does: dripsBytes("\x05\x00\x05\x00\x00\x03\xff"), status: 503},
		"stops half way":  {does: alongside(says("\x05\x00\x05\x00\x00\x01")), status: 503},
		"silent after it": {does: alongside(says("\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")), status: 504},
	},
}

// alongside takes everything while then goes on.
func alongside(then script) script {
	return func(p *peer) {
		go silent(p)
		then(p)
	}
}

// plainDialer makes a function a Dialer of golang.org/x/net/proxy.
type plainDialer func(ctx context.Context, network, address string) (net.Conn, error)

func (d plainDialer) Dial(network, address string) (net.Conn, error) {
	return d(context.Background(), network, address)
}

func (d plainDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d(ctx, network, address)
}

// parent is another proxy, which is asked by CONNECT.
var parent = spoken{
	url: "http://b.test",
	transport: func(b *backend.Backend) http.RoundTripper {
		d := &connect.Dialer{Proxy: b.URL, DialParent: b.DialContext, Timeout: limit}
		b.DialContext = d.DialContext
		return &proxy.Transport{Backend: b}
	},
	reads: readsHead,
	rows: map[string]misbehaviour{
		"nothing":                 {does: silent, status: 503},
		"reads nothing":           {does: deaf, status: 503, unread: true},
		"dial hangs":              {hangs: true, status: 503},
		"drips a head":            {does: dripsBytes("HTTP/1.1 200 OK\r\nA: b\r\n"), status: 503},
		"endless lines":           {does: after("HTTP/1.1 200 OK\r\n", floods("A: b\r\n")), status: 503},
		"endless interim answers": {does: floods("HTTP/1.1 102 Processing\r\n\r\n"), status: 503},
		"drips interim answers":   {does: drips("HTTP/1.1 102 Processing\r\n\r\n"), status: 503},
		"drips a refusal":         {does: after("HTTP/1.1 403 Forbidden\r\nContent-Length: 99\r\n\r\n", dripsBytes("no")), status: 503, other: true},
		"endless refusal":         {does: after("HTTP/1.1 403 Forbidden\r\n\r\n", floods(strings.Repeat("no", 1000))), status: 503},
		"silent after it":         {does: after("HTTP/1.1 200 OK\r\n\r\n", silent), status: 504},
	},
}
