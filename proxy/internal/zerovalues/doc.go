// Package zerovalues is a test of all others: whatever a zero value's methods and
// the package's functions are called with, they answer, with an error where
// there is nothing else to say. None panics or waits for ever.
package zerovalues
