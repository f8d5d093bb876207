// Package fcgi is the web server's side of FastCGI.
package fcgi
