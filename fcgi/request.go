package fcgi

import (
	"net/http"
	"sync"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

const copyBufferSize = 64 << 10

// copyBuffers lends buffers of copyBufferSize bytes.
var copyBuffers = sync.Pool{New: func() any { return new([copyBufferSize]byte) }}

// startSender sends the body of r, whose length is known, as the stream STDIN.
func startSender(c *backend.Conn, r *http.Request, hooks proxy.Hooks) *proxy.BodySender {
	s := new(proxy.BodySender)
	s.Init(c, r, hooks)
	s.Expect()
	go func() { s.Finish(sendStdin(s)) }()
	return s
}

// sendStdin sends one record for each piece that the client sends, and the end
// of the stream with the last.
func sendStdin(s *proxy.BodySender) error {
	lent := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(lent)
	buf := lent[:]
	const after = 8 + headLength // padding, and the end of the stream
	for {
		n, last, err := s.Read(buf[headLength : len(buf)-after])
		if err != nil {
			return err
		}
		if n == 0 && !last {
			continue
		}
		out := buf[:0]
		if n > 0 {
			padding := putRecordHead(buf, typeStdin, requestID, n)
			out = append(buf[:headLength+n], zeros[:padding]...)
		}
		if last {
			out = appendRecord(out, typeStdin, requestID, nil)
		}
		if _, err := s.Write(out); err != nil || last {
			return err
		}
	}
}
