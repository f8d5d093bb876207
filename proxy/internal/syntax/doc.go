// Package syntax knows the bytes of which fields are made (RFC 9110 section 5.6):
// tokens, values, blanks, hexadecimal digits.
package syntax
