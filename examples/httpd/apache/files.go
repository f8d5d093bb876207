package apache

import "github.com/modproxy/modproxy/examples/httpd/apache/internal/plainfile"

// maxFile bounds what is read of a file that the configuration names, in bytes.
const maxFile = 64 << 20

// readFile returns the content of a file that the configuration names. What is no
// regular file, or too large, is an error, and keeps nobody waiting.
func readFile(name string) ([]byte, error) { return plainfile.Read(name, maxFile) }
