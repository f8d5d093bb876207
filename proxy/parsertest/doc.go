// Package parsertest measures that what a stranger sends costs no more than its
// length, for the tests of whatever reads bytes of the network. A test of its own
// sees to it that each such package of the module has a TestCost and a fuzz
// target, and each fuzz target a corpus.
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
