package plainfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ErrNotRegular is the error for what is no regular file; it comes wrapped in an
// [fs.PathError].
var ErrNotRegular = errors.New("not a regular file")

// ErrTooLarge is the error for a file with more bytes than are wanted; it comes
// wrapped in an [fs.PathError].
var ErrTooLarge = errors.New("the file is too large")

// Open opens a regular file for reading. The null device counts as an empty file,
// as in httpd; all else is [ErrNotRegular].
func Open(name string) (*os.File, error) {
	// Without waiting, so that a FIFO cannot hold up who opens it.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ENXIO) { // a socket, or a device that is not there
		return nil, &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && !isNull(info) {
		err = &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func isNull(info fs.FileInfo) bool {
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(info, null)
}

// Read returns the content of a regular file of at most max bytes.
func Read(name string, max int64) ([]byte, error) {
	f, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	tooLarge := &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("%w: more than %d bytes", ErrTooLarge, max)}
	if info.Size() > max {
		return nil, tooLarge
	}
	// It may grow while it is read.
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(b)) > max {
		err = tooLarge
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}
