package conf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/modproxy/modproxy/proxy/parsertest"
)

// TestCost: a configuration costs no more than its length.
func TestCost(t *testing.T) {
	inputs := make(map[string]parsertest.Input)
	for name, text := range map[string]func(n int) string{
		"directives":       func(n int) string { return strings.Repeat("A b\n", n/4) },
		"words":            func(n int) string { return "A" + strings.Repeat(" b", n/2) },
		"continued lines":  func(n int) string { return "A" + strings.Repeat("\\\n", n/2) },
		"quotes":           func(n int) string { return "A" + strings.Repeat(` "b\"" 'c'`, n/10) },
		"an open quote":    func(n int) string { return `A "` + strings.Repeat(`\"`, n/2) },
		"variables":        func(n int) string { return "Define X y\nA " + strings.Repeat("${X}", n/4) },
		"open variables":   func(n int) string { return "A " + strings.Repeat("${", n/2) },
		"unknown":          func(n int) string { return "A " + strings.Repeat("${U}", n/4) },
		"definitions":      func(n int) string { return numbered("Define X%d y\n", n) },
		"sections":         func(n int) string { return strings.Repeat("<A b>\nC\n</A>\n", n/13) },
		"nested":           func(n int) string { return strings.Repeat("<A>\n", n/4) },
		"left out":         func(n int) string { return "<IfDefine U>\n" + strings.Repeat("<A b>\n</A>\n", n/11) + "</IfDefine>" },
		"conditions":       func(n int) string { return strings.Repeat("<IfModule !x>\nA\n</IfModule>\n", n/28) },
		"versions":         func(n int) string { return "<IfVersion >= 2" + strings.Repeat(".4", n/2) + ">\n</IfVersion>" },
		"macros":           func(n int) string { return numbered("<Macro M%[1]d $a>\nA $a\n</Macro>\nUse M%[1]d b\n", n) },
		"parameters":       func(n int) string { return "<Macro M $a>\n" + strings.Repeat("A $a $b\n", n/8) + "</Macro>\nUse M b" },
		"problems":         func(n int) string { return strings.Repeat("</S>\n", n/5) },
		"comments":         func(n int) string { return strings.Repeat("# a\n", n/4) },
		"an unknown word":  func(n int) string { return "<A " + strings.Repeat("b", n) },
		"closing of other": func(n int) string { return "<A>\n</" + strings.Repeat("b", n) + ">" },
	} {
		inputs[name] = func(n int) func() {
			text := text(n)
			return func() {
				_, _ = Parse(strings.NewReader(text), "x.conf", Options{Version: "2.4.71", Warn: func(*Error) {}})
			}
		}
	}
	inputs["the word that was meant"] = func(n int) func() {
		name := strings.Repeat("Proxy", n/5)
		return func() { Nearest(name, []string{"ProxyPass", "ProxyPassMatch", "Proxy"}) }
	}
	parsertest.Linear(t, inputs)
}

func numbered(format string, n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}
