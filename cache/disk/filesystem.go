package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// What the store does to the file system goes through here. The hook stands
// for a disk that fails, in tests.

func (d *Store) try(op, path string) error {
	if d.hook == nil {
		return nil
	}
	return d.hook(op, path)
}

func (d *Store) open(path string) (*os.File, error) {
	if err := d.try("open", path); err != nil {
		return nil, err
	}
	return os.Open(path)
}

// create makes a new file, and the directories it is in.
func (d *Store) create(path string) (*os.File, error) {
	for range 5 {
		if err := d.try("create", path); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		if err := d.try("mkdir", path); err != nil {
			return nil, err
		}
		// An empty directory may be removed before the file is in it.
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, &fs.PathError{Op: "create", Path: path, Err: fs.ErrNotExist}
}

func (d *Store) write(f *os.File, p []byte) (int, error) {
	if err := d.try("write", f.Name()); err != nil {
		return 0, err
	}
	return f.Write(p)
}

func (d *Store) sync(f *os.File) error {
	if err := d.try("sync", f.Name()); err != nil {
		return err
	}
	return f.Sync()
}

// syncDir makes names last. Some systems cannot; then there is nothing to do.
func (d *Store) syncDir(path string) error {
	f, err := d.open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := d.sync(f); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

func (d *Store) rename(from, to string) error {
	if err := d.try("rename", to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// remove removes a file. One that is gone is no error.
func (d *Store) remove(path string) error {
	err := d.try("remove", path)
	if err == nil {
		err = syscall.Unlink(path) // os.Remove would try twice
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return &fs.PathError{Op: "remove", Path: path, Err: err}
}

// manyDirs is the number of digits from which on a layout has so many
// directories that empty ones are removed. Making one again costs many times
// what a file costs.
const manyDirs = 5

// removeDirs removes the directories of a hash that have become empty.
func (d *Store) removeDirs(h keyHash) {
	if d.layout.levels*d.layout.length < manyDirs {
		return
	}
	dir := d.layout.dir(h)
	for range d.layout.levels {
		if d.try("remove", dir) != nil || syscall.Rmdir(dir) != nil {
			return
		}
		dir = filepath.Dir(dir)
	}
}

// unlink removes the files of an entry: the metadata first, without which the
// body means nothing.
func (d *Store) unlink(n entryName) error {
	err := d.remove(d.layout.meta(n))
	d.noteStuck(n, err != nil)
	if err2 := d.remove(d.layout.body(n)); err == nil {
		err = err2
	}
	d.removeDirs(n.hash)
	return err
}
