//go:build !linux

package disk

import "os"

func stampOf(f *os.File) (fileStamp, error) {
	info, err := f.Stat()
	if err != nil {
		return fileStamp{}, err
	}
	return fileStamp{size: info.Size(), modified: info.ModTime().UnixNano()}, nil
}
