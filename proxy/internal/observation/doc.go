// Package observation sees a request from outside, whoever answers it, for
// proxy.Observer and accesslog.Handler.
package observation
