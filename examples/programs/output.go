package programs

import (
	"bytes"
	"sync"
)

// Output collects what a program writes, or a log. It may be read while it is
// written.
type Output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Tail returns the last 4 KB.
func (o *Output) Tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.b.Bytes()
	return string(bytes.TrimSpace(b[max(0, len(b)-4<<10):]))
}
