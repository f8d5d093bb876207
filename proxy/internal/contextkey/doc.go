// Package contextkey holds the keys of what the context of a request knows, for
// the packages below proxy.
package contextkey
