package expr

import (
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/plainfile"
)

// functions are those that ask nothing of a request.
var functions = map[string]func(x *evaluation, arg string) string{
	"tolower":  func(_ *evaluation, s string) string { return mapBytes(s, lower) },
	"toupper":  func(_ *evaluation, s string) string { return mapBytes(s, upper) },
	"escape":   func(_ *evaluation, s string) string { return escapePath(s) },
	"unescape": func(_ *evaluation, s string) string { return unescapePath(s) },
	"base64":   func(_ *evaluation, s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"unbase64": func(_ *evaluation, s string) string { return decode64(s) },
	"md5": func(_ *evaluation, s string) string {
		sum := md5.Sum([]byte(s))
		return hex.EncodeToString(sum[:])
	},
	"sha1": func(_ *evaluation, s string) string {
		sum := sha1.Sum([]byte(s))
		return hex.EncodeToString(sum[:])
	},
	"osenv":    func(_ *evaluation, s string) string { return os.Getenv(s) },
	"file":     readFile,
	"filesize": func(_ *evaluation, s string) string { return strconv.FormatInt(fileSize(s), 10) },
}

// mapBytes changes each byte; letters beyond ASCII stay as they are.
func mapBytes(s string, change func(byte) byte) string {
	b := []byte(s)
	for i := range b {
		b[i] = change(b[i])
	}
	return string(b)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}

// escapePath escapes what may not stand in a path.
func escapePath(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; isWord(c) || strings.IndexByte("$-.+!*'(),:;@&=/~", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteString(hex.EncodeToString([]byte{c}))
		}
	}
	return b.String()
}

// unescapePath takes the escapes out, but that of a slash. What is malformed, or
// has an escaped NUL, becomes nothing.
func unescapePath(s string) string {
	s, err := url.PathUnescape(strings.NewReplacer("%2F", "%252F", "%2f", "%252f").Replace(s))
	if err != nil || strings.IndexByte(s, 0) >= 0 {
		return ""
	}
	return s
}

// decode64 decodes as far as the text is Base64.
func decode64(s string) string {
	end := 0
	for end < len(s) && (isWord(s[end]) && s[end] != '_' || s[end] == '+' || s[end] == '/') {
		end++
	}
	b, err := base64.RawStdEncoding.DecodeString(s[:end])
	if err != nil {
		b, _ = base64.RawStdEncoding.DecodeString(s[:end-end%4])
	}
	return string(b)
}

// maxFile bounds what file() reads, in bytes.
const maxFile = 10 << 20

// readFile returns what is in a regular file.
func readFile(x *evaluation, name string) string {
	b, err := plainfile.Read(name, maxFile)
	x.failed = x.failed || err != nil
	return string(b)
}

func fileSize(name string) int64 {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}
