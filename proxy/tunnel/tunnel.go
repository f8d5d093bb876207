package tunnel

import (
	"io"
	"net"
	"time"
)

// Tunnel is a pair of connections to be joined.
type Tunnel struct {
	// Client and Backend are the two ends. Both are closed at the end.
	Client, Backend io.ReadWriteCloser

	// ClientData is what the client has sent already, BackendData what the
	// backend has: each goes to the other side first.
	ClientData, BackendData []byte

	// IdleTimeout ends the tunnel when nothing moved in either direction for
	// that long, or up to a fourth longer. Zero means never.
	IdleTimeout time.Duration

	// MaxLife ends the tunnel that long after its start, whatever moves. Zero
	// means never.
	MaxLife time.Duration

	// CloseDelay is how long the tunnel goes on once Shutdown or its MaxLife
	// has asked it to leave: time for the answer to a Farewell, and for what is
	// under way. Zero leaves it to the context of Shutdown; at the end of
	// MaxLife it means 5 s after a farewell, and at once without one.
	CloseDelay time.Duration

	// NoHalfClose ends the tunnel when one side has sent its last byte. Without
	// it, the other side may go on sending. Apache: proxy-nohalfclose.
	NoHalfClose bool

	// HalfCloseTimeout is how long the other side may go on then, and how long it
	// may leave unread what came before that end. Zero means as long as it likes.
	HalfCloseTimeout time.Duration

	// Protocol, Target and ClientAddr tell what the tunnel is, in List.
	Protocol, Target, ClientAddr string

	// ToClient is what the client is told when the tunnel has to leave, as soon
	// as no message is cut by it; nothing from the backend follows it. ToBackend
	// is what the backend is told at the end of CloseDelay.
	ToClient, ToBackend Farewell

	// Join, if not nil, moves the bytes in place of the relay, and returns when
	// the tunnel is over. It is called on a goroutine of its own. Both
	// connections give what was read too far first, and count what is written;
	// the time limits and Shutdown close them.
	Join func(client, backend net.Conn) error

	// Leave, if not nil, is called when Shutdown or MaxLife asks the tunnel to
	// leave, with the cause. It is Join's ToClient and ToBackend, and must not
	// block.
	Leave func(cause error)

	// OnEnd, if not nil, is called once when both connections are closed.
	OnEnd func(Stats)
}

// Farewell is the last message of one direction of a tunnel.
type Farewell struct {
	// Bytes are the message. Empty means none.
	Bytes []byte

	// Framing follows the bytes of this direction. If nil, the farewell is
	// never written, since it might cut a message.
	Framing Framing
}

// Framing follows the bytes of one direction of a tunnel and knows where
// messages end. Its methods are never called at the same time.
type Framing interface {
	// Follow is told the bytes that pass next. It returns how many of them
	// lead up to the end of a message, the last that ends in p; 0 if none does.
	Follow(p []byte) int

	// Between reports whether another message may follow what has passed.
	Between() bool

	// Payload returns how many bytes pass next, at least, that Follow need not
	// see, and Skip says that n of them have passed.
	Payload() int64
	Skip(n int64)
}

// Stats is what moved through a tunnel.
type Stats struct {
	Protocol   string        `json:"protocol"`
	Target     string        `json:"target"`
	ClientAddr string        `json:"client"`
	Started    time.Time     `json:"started"`
	Duration   time.Duration `json:"duration"`
	Sent       int64         `json:"sent"`     // bytes to the backend
	Received   int64         `json:"received"` // bytes from the backend
	Err        error         `json:"-"`        // why it ended; nil after a clean end of both sides
}
