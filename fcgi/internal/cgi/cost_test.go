package cgi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/modproxy/modproxy/proxy/parsertest"
)

// TestCost: neither the head of an answer nor a path costs more than its length.
func TestCost(t *testing.T) {
	inputs := make(map[string]parsertest.Input)
	for name, text := range map[string]string{"fields": "A: b\r\n", "folded": " c\r\n", "lines": "\n", "returns": "\r", "status": "Status: 200\n"} {
		inputs["head, "+name] = func(n int) func() {
			head := "A: b\r\n" + strings.Repeat(text, n/len(text)) + "\r\n"
			return func() {
				scan := HeadScanner{Line: len(head), Total: len(head)}
				_, _, _ = scan.Scan([]byte(head))
				_ = ParseHead(head, new(http.Response))
			}
		}
	}
	for name, text := range map[string]string{"slashes": "/", "dots": "/..", "letters": "x", "both": "/a"} {
		inputs["path, "+name] = func(n int) func() {
			p := strings.Repeat(text, n/len(text))
			return func() {
				_ = CheckPath(p)
				_ = MountedAt(p, p[len(p)/2:])
			}
		}
	}
	parsertest.Linear(t, inputs)
}
