package logsink

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// File opens a log by its name for appending. A regular file is written at once, so
// that each line is one write; all others, FIFOs and devices, through a queue. A FIFO
// needs no reader: what it has room for waits for one.
func File(name string, lost func(lines int64)) (io.WriteCloser, error) {
	// Without waiting, so that no FIFO or device holds up who opens it.
	const flags = os.O_APPEND | os.O_CREATE | syscall.O_NONBLOCK
	f, err := os.OpenFile(name, flags|os.O_WRONLY, 0o644)
	if errors.Is(err, syscall.ENXIO) { // a FIFO without a reader
		f, err = os.OpenFile(name, flags|os.O_RDWR, 0o644)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	switch {
	case info.Mode().IsRegular(), name == os.DevNull:
		return f, nil
	case info.Mode()&fs.ModeNamedPipe != 0:
		// Open for reading as well, so that a reader may go and another come.
		both, err := os.OpenFile(name, os.O_RDWR|syscall.O_NONBLOCK, 0)
		_ = f.Close()
		if err != nil {
			return nil, err
		}
		f = both
	}
	return newQueue(f, lost), nil
}
