package conf

import (
	"errors"
	"fmt"
	"strings"
)

// Error is a fault of a configuration at a place.
type Error struct {
	File      string
	Line      int
	Directive string // as written; empty for what is no directive
	Err       error
}

// Error gives the place as file:line.
func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap returns the fault.
func (e *Error) Unwrap() error { return e.Err }

// Errors are all faults that were found, in order. One or more are an error.
type Errors []error

// Add appends an error, or each of them if it is Errors. Nil adds nothing.
func (all *Errors) Add(err error) {
	switch err := err.(type) {
	case nil:
	case Errors:
		*all = append(*all, err...)
	default:
		*all = append(*all, err)
	}
}

// Err returns the errors as one, or nil if there are none.
func (all Errors) Err() error {
	if len(all) == 0 {
		return nil
	}
	return all
}

// Error gives a line for each.
func (all Errors) Error() string {
	lines := make([]string, len(all))
	for i, err := range all {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors.
func (all Errors) Unwrap() []error { return all }

// Join puts errors together, in order.
func Join(errs ...error) error {
	var all Errors
	for _, err := range errs {
		all.Add(err)
	}
	return all.Err()
}

// hinted is an error with what would do instead.
type hinted struct {
	error
	hint string
}

// WithHint adds to an error what would do instead; its text ends in the hint,
// behind a semicolon. Without a hint the error is unchanged.
func WithHint(err error, hint string) error {
	if err == nil || hint == "" {
		return err
	}
	return &hinted{err, hint}
}

func (h *hinted) Error() string { return h.error.Error() + "; " + h.hint }

func (h *hinted) Unwrap() error { return h.error }

// Hint returns what would do instead of that of which an error speaks, if it
// says so.
func Hint(err error) string {
	var h *hinted
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}
