package tempfile

import "os"

// File is a temporary file, which has no name for longer than a moment where the
// system allows it.
type File struct {
	*os.File
	named bool // it has to be removed after it is closed
}

// Create makes one in dir; empty means os.TempDir.
func Create(dir string) (*File, error) {
	f, err := os.CreateTemp(dir, "modproxy-body-")
	if err != nil {
		return nil, err
	}
	return &File{f, os.Remove(f.Name()) != nil}, nil // not every system removes open files
}

// Close closes the file, with which it is gone.
func (f *File) Close() error {
	err := f.File.Close()
	if f.named {
		_ = os.Remove(f.Name())
	}
	return err
}
