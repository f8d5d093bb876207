// Package parsertest is for the tests of whatever reads bytes of the network:
// what a stranger sends must not cost more than its length.
//
//	func TestCostOfVia(t *testing.T) {
//		parsertest.Linear(t, map[string]parsertest.Input{
//			"many commas": func(n int) func() {
//				value := strings.Repeat(",", n)
//				return func() { parseVia(value) }
//			},
//		})
//	}
package parsertest
