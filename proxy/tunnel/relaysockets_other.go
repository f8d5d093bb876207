//go:build !linux

package tunnel

import (
	"io"
	"syscall"
)

// socketPair is not available here: a relay copies.
type socketPair struct{}

func (r *relay) startSockets(client, backend io.ReadWriteCloser, clientData, backendData []byte) bool {
	return false
}

func (*socketPair) say(*direction) {}
func (*socketPair) close()         {}

type loops struct{}

func (*loops) close() {}

// inspect cannot see here what stands behind bytes that are not read.
func inspect(syscall.Conn, bool) (ended, gone bool, err error) { return false, false, nil }
