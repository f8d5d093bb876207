package manager

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/modproxy/modproxy/proxy/parsertest"
)

// TestCost: what a client sends costs no more than its length.
func TestCost(t *testing.T) {
	inputs := make(map[string]parsertest.Input)
	b, m := managed(t)
	m.setup()
	for name, text := range map[string]string{"ampersands": "&", "names": "a=%41&", "the same name": "w=1&", "escapes": "%26", "plus": "+"} {
		inputs["form of "+name] = func(n int) func() { // which may have 64 KiB, and 10,000 fields by net/url
			form := "b=app&nonce=" + m.nonce(b) + "&" + strings.Repeat(text, n/4/len(text))
			return func() { ask(m, "POST", "/", form, "application/x-www-form-urlencoded") }
		}
		inputs["query of "+name] = func(n int) func() {
			return func() { ask(m, "GET", "/?json=1&"+strings.Repeat(text, n/len(text)), "", "") }
		}
	}
	for name, json := range map[string]func(n int) string{
		"names":  func(n int) string { return `{` + strings.Repeat(`"a":1,`, n/6) + `"b":"app"}` },
		"depth":  func(n int) string { return strings.Repeat(`{"a":`, n/5) },
		"quotes": func(n int) string { return `{"b":"` + strings.Repeat(`\"`, n/2) + `"}` },
	} {
		inputs["JSON of "+name] = func(n int) func() {
			return func() { ask(m, "POST", "/", json(n/2), "application/json") }
		}
	}
	parsertest.Linear(t, inputs)
}

func ask(m *Handler, method, target, body, kind string) {
	r := httptest.NewRequest(method, "http://front.test"+target, strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	m.ServeHTTP(httptest.NewRecorder(), r)
}
