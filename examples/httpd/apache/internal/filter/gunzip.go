package filter

import (
	"bufio"
	"compress/gzip"
	"io"
)

// Gunzip unpacks a body, as httpd's INFLATE. What is not packed by gzip, or is cut,
// is an error of Write or Close.
func Gunzip(next Writer) Filter {
	return pull(next, func(r io.Reader) error {
		in := bufio.NewReader(r)
		if _, err := in.Peek(1); err == io.EOF {
			return nil // an empty body is empty either way
		}
		z, err := gzip.NewReader(in)
		if err == nil {
			_, err = io.Copy(struct{ io.Writer }{next}, z) // by Write, whatever else the next one can
		}
		return err
	})
}
