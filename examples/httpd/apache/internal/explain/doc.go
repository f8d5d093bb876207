// Package explain writes the Go that does what a configuration of Apache says, with
// the packages of modproxy:
//
//	directives ─► hosts: names, rules, who may come in ─► a function for each host ─► a program
//
// Each part of the program names the line that it comes from. What has no short
// form in Go is a comment in its place; where that says who may come in, the
// program refuses everybody until somebody writes it.
package explain
