package wstunnel

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// frame is a frame with its length in the shortest form.
func frame(first byte, payload string) string {
	switch n := len(payload); {
	case n < 126:
		return string([]byte{first, byte(n)}) + payload
	case n <= 0xffff:
		return string(binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(n))) + payload
	default:
		return string(binary.BigEndian.AppendUint64([]byte{first, 127}, uint64(n))) + payload
	}
}

// masked gives each frame a mask, which changes no byte.
func masked(frames []string) string {
	var b strings.Builder
	for _, f := range frames {
		head := 2
		switch f[1] & 0x7f {
		case 126:
			head += 2
		case 127:
			head += 8
		}
		b.WriteString(f[:1] + string([]byte{f[1] ^ bitMask}) + f[2:head] + "\x00\x00\x00\x00" + f[head:])
	}
	return b.String()
}

// badFrames are streams that RFC 6455 and RFC 7692 have an endpoint refuse, and
// some that they do not, with the code that the sender is told, or has said.
var badFrames = map[string]struct {
	frames   []string
	code     int
	deflated bool // permessage-deflate is agreed to
}{
	"mask is wrong":                   {[]string{"\x81\x85hello"}, 1002, false}, // for either side: see masked
	"RSV1":                            {[]string{"\xc1\x00"}, 1002, false},
	"RSV2":                            {[]string{"\xa1\x00"}, 1002, false},
	"RSV3":                            {[]string{"\x91\x00"}, 1002, false},
	"RSV2, deflated":                  {[]string{"\xe1\x00"}, 1002, true},
	"RSV1 on a continuation":          {[]string{"\x41\x00", "\xc0\x00"}, 1002, true},
	"RSV1 on a continuation, plain":   {[]string{"\x01\x01a", "\xc0\x01a"}, 1002, true},
	"RSV1 on a Ping":                  {[]string{"\xc9\x00"}, 1002, true},
	"RSV1 on a Pong":                  {[]string{"\xca\x00"}, 1002, true},
	"RSV1 on a Close":                 {[]string{"\xc8\x02\x03\xe8"}, 1002, true},
	"RSV3 on a Close":                 {[]string{"\x98\x02\x03\xe8"}, 1002, true},
	"RSV1 on a Ping in a message":     {[]string{"\x41\x00", "\xc9\x00"}, 1002, true},
	"unknown opcode":                  {[]string{"\x83\x00"}, 1002, false},
	"unknown opcode, last":            {[]string{"\x87\x00"}, 1002, false},
	"unknown control opcode":          {[]string{"\x8b\x00"}, 1002, false},
	"unknown control opcode, last":    {[]string{"\x8f\x00"}, 1002, false},
	"continuation of nothing":         {[]string{"\x80\x00"}, 1002, false},
	"continuation behind a message":   {[]string{"\x82\x01a", "\x00\x01a"}, 1002, false},
	"message in a message":            {[]string{"\x01\x01a", "\x81\x01a"}, 1002, false},
	"message in one behind a Ping":    {[]string{"\x01\x01a", "\x89\x00", "\x02\x01a"}, 1002, false},
	"long Ping":                       {[]string{frame(0x89, strings.Repeat("x", 126))}, 1002, false},
	"long Pong":                       {[]string{frame(0x8a, strings.Repeat("x", 70_000))}, 1002, false},
	"long Close":                      {[]string{frame(0x88, "\x03\xe8"+strings.Repeat("x", 124))}, 1002, false},
	"Ping in pieces":                  {[]string{"\x09\x00"}, 1002, false},
	"Close in pieces":                 {[]string{"\x08\x02\x03\xe8"}, 1002, false},
	"Close of one byte":               {[]string{"\x88\x01\x03"}, 1002, false},
	"Close with 0":                    {[]string{"\x88\x02\x00\x00"}, 1002, false},
	"Close with 999":                  {[]string{"\x88\x02\x03\xe7"}, 1002, false},
	"Close with 1004":                 {[]string{"\x88\x02\x03\xec"}, 1002, false},
	"Close with 1005":                 {[]string{"\x88\x02\x03\xed"}, 1002, false},
	"Close with 1006":                 {[]string{"\x88\x02\x03\xee"}, 1002, false},
	"Close with 1015":                 {[]string{"\x88\x02\x03\xf7"}, 1002, false},
	"Close with 2999":                 {[]string{"\x88\x02\x0b\xb7"}, 1002, false},
	"Close with 5000":                 {[]string{"\x88\x02\x13\x88"}, 1002, false},
	"Close with 65535":                {[]string{"\x88\x02\xff\xff"}, 1002, false},
	"Close with no UTF-8":             {[]string{"\x88\x04\x03\xe8\xff\xff"}, 1007, false},
	"Close with UTF-8 that is cut":    {[]string{"\x88\x03\x03\xe8\xc3"}, 1007, false},
	"length with its top bit":         {[]string{"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x01"}, 1002, false},
	"length of all bits":              {[]string{"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"}, 1002, false},
	"top bit of a continuation":       {[]string{"\x02\x01a", "\x80\x7f\x80\x00\x00\x00\x00\x00\x00\x00"}, 1002, false},
	"16 bits for 125":                 {[]string{"\x82\x7e\x00\x7d" + strings.Repeat("x", 125)}, 1002, false},
	"16 bits for none":                {[]string{"\x82\x7e\x00\x00"}, 1002, false},
	"64 bits for 65535":               {[]string{"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff"}, 1002, false},
	"no UTF-8":                        {[]string{"\x81\x02\xff\xff"}, 1007, false},
	"UTF-8 that is cut":               {[]string{"\x81\x01\xc3"}, 1007, false},
	"UTF-8 cut by an ASCII":           {[]string{"\x01\x01\xc3", "\x80\x01a"}, 1007, false},
	"a surrogate":                     {[]string{"\x81\x03\xed\xa0\x80"}, 1007, false},
	"malformed compression":           {[]string{"\xc1\x03\xff\xff\xff"}, 1007, true},
	"too long":                        {[]string{frame(0x82, strings.Repeat("x", 2001))}, 1009, false},
	"too long, not yet there":         {[]string{"\x82\x7f\x00\x00\x01\x00\x00\x00\x00\x00"}, 1009, false},
	"too long in pieces":              {[]string{frame(0x02, strings.Repeat("x", 2000)), "\x80\x01x"}, 1009, false},
	"a bomb":                          {[]string{frame(0xc2, bomb)}, 1009, true},
	"a bomb in pieces":                {[]string{frame(0x42, bomb[:9]), frame(0x80, bomb[9:])}, 1009, true},
	"Close":                           {[]string{"\x88\x00"}, 1005, false},
	"Close with 1000":                 {[]string{"\x88\x02\x03\xe8"}, 1000, false},
	"Close with 1014":                 {[]string{"\x88\x02\x03\xf6"}, 1014, false},
	"Close with 3000":                 {[]string{"\x88\x02\x0b\xb8"}, 3000, false},
	"Close with 4999":                 {[]string{"\x88\x02\x13\x87"}, 4999, false},
	"Close with the longest reason":   {[]string{frame(0x88, "\x03\xe8"+strings.Repeat("x", 123))}, 1000, false},
	"Close in a message":              {[]string{"\x01\x01a", "\x88\x02\x03\xe9"}, 1001, false},
	"UTF-8 in pieces, Ping, a Close":  {[]string{"\x01\x01\xc3", "\x89\x00", "\x80\x01\xbc", "\x88\x02\x0f\xa1"}, 4001, false},
	"RSV1 on a message, and a Close":  {[]string{"\xc1\x01\x00", "\x88\x02\x0f\xa1"}, 4001, true},
	"a message that is not deflated":  {[]string{"\x81\x01a", "\x88\x02\x0f\xa1"}, 4001, true},
	"length of 126, of 65536 as well": {[]string{frame(0x82, strings.Repeat("x", 126)), "\x88\x02\x0f\xa1"}, 4001, false},
}

// bomb is a mebibyte of zeros that was deflated.
var bomb = func() string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write(make([]byte, 1<<20))
	_ = w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}()

// TestProtocolErrorsEndHere: what is no WebSocket is refused by the proxy,
// whichever side it comes from; the other side never sees it.
func TestProtocolErrorsEndHere(t *testing.T) {
	for name, tc := range badFrames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, fromBackend := range []bool{false, true} {
				for _, hook := range []bool{false, true} {
					told, other := passBad(t, tc.frames, tc.deflated, fromBackend, hook)
					want := websocket.CloseGoingAway
					if tc.code < 1002 || tc.code > 1009 || tc.code == 1005 {
						want = tc.code
					}
					require.Equal(t, want, other, "backend %v, hook %v", fromBackend, hook)
					if want == websocket.CloseGoingAway && tc.code != want {
						require.Equal(t, tc.code, told, "backend %v, hook %v", fromBackend, hook)
					}
				}
			}
		})
	}
}

// passBad has one side send frames, and returns the codes that this side and the
// other were told.
func passBad(t *testing.T, frames []string, deflated, fromBackend, hook bool) (told, other int) {
	codes := make(chan int, 1)
	plain := strings.Join(frames, "")
	back := scripted(t, func(c net.Conn, r *http.Request, buf *bufio.Reader) {
		var more []string
		if deflated {
			more = []string{"Sec-WebSocket-Extensions: " + deflate}
		}
		_, _ = io.WriteString(c, switching(r, more...))
		if fromBackend {
			_, _ = io.WriteString(c, plain)
		}
		codes <- closeOf(c, buf)
	})
	h := handlerTo(t, back)
	h.Messages = &Messages{MaxSize: 2000, CompressClient: deflated, CompressBackend: deflated}
	if hook {
		h.Messages.OnMessage = func(*Message) error { return nil }
	}
	hello := handshake0
	if deflated {
		hello += "Sec-WebSocket-Extensions: permessage-deflate\r\n"
	}
	c, r := rawDial(t, serve(t, h), hello+"\r\n")
	answerOf(t, r)
	if !fromBackend {
		_, err := io.WriteString(c, masked(frames))
		require.NoError(t, err)
	}
	code := closeOf(c, r)
	if nothingLeft(t, h, 0); fromBackend {
		return <-codes, code
	}
	return code, <-codes
}

// closeOf reads up to a Close, answers it, and returns its code.
func closeOf(c net.Conn, r *bufio.Reader) int {
	for {
		head := make([]byte, 2, 10)
		if _, err := io.ReadFull(r, head); err != nil {
			return -1
		}
		n := int(head[1] & 0x7f)
		if n == 126 {
			extended, _ := r.Peek(2)
			n = int(binary.BigEndian.Uint16(extended))
			_, _ = r.Discard(2)
		}
		var mask [4]byte
		if head[1]&bitMask != 0 {
			_, _ = io.ReadFull(r, mask[:])
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(r, payload); err != nil {
			return -1
		}
		if head[0] != bitFinal|opClose {
			continue
		}
		_ = c.Close()
		if n == 0 {
			return websocket.CloseNoStatusReceived
		}
		return int(payload[0]^mask[0])<<8 | int(payload[1]^mask[1])
	}
}

// TestFramesAreJudgedEarly: a violation is told as soon as it can be seen, and no
// byte behind it is passed on, however the bytes are cut.
func TestFramesAreJudgedEarly(t *testing.T) {
	for name, tc := range badFrames {
		if tc.code != websocket.CloseProtocolError || name == "mask is wrong" {
			continue
		}
		for _, from := range []string{masked(tc.frames), strings.Join(tc.frames, "")} {
			f := &frames{masked: from == masked(tc.frames), deflate: tc.deflated}
			whole, err := f.check([]byte(from))
			require.Error(t, err, name)
			f = &frames{masked: f.masked, deflate: tc.deflated}
			passed := 0
			for i := range from {
				n, single := f.check([]byte(from[i : i+1]))
				if passed += n; single != nil {
					require.Equal(t, err, single, name)
					require.Zero(t, n)
					break
				}
			}
			require.Equal(t, whole, passed, name)
			n, again := f.check([]byte("\x81\x00"))
			require.Zero(t, n)
			require.Equal(t, err, again)
		}
	}
}

// FuzzFrames: however a stream is cut, the same bytes of it pass, and those are
// ones that gorilla/websocket finds nothing wrong with.
func FuzzFrames(f *testing.F) {
	for _, tc := range badFrames {
		f.Add([]byte(masked(tc.frames)), true, tc.deflated, 3)
		f.Add([]byte(strings.Join(tc.frames, "")), false, tc.deflated, 1)
	}
	f.Fuzz(func(t *testing.T, stream []byte, client, deflated bool, size int) {
		size = max(1, min(size, len(stream)))
		whole := &frames{masked: client, deflate: deflated}
		passes, over := whole.check(stream)
		pieces := &frames{masked: client, deflate: deflated}
		passed := 0
		for at := 0; at < len(stream) && pieces.over == nil; at += size {
			n, _ := pieces.check(stream[at:min(at+size, len(stream))])
			passed += n
		}
		require.Equal(t, over, pieces.over)
		require.Equal(t, passes, passed)
		end := dialed
		if client {
			end = accepted
		}
		p, err := end(newScriptedConn(strings.NewReader(string(stream))), deflated)
		require.NoError(t, err)
		p.SetPongHandler(func(string) error { return nil })
		p.SetPingHandler(func(string) error { return nil })
		for err == nil {
			var r io.Reader
			if _, r, err = p.NextReader(); err == nil {
				_, _ = io.Copy(io.Discard, io.LimitReader(r, 1<<20))
			}
		}
		require.False(t, strings.HasPrefix(err.Error(), "websocket: ") && !errors.As(err, new(*websocket.CloseError)) && err != websocket.ErrReadLimit, "%v", err)
	})
}
