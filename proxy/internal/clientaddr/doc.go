// Package clientaddr reads the addresses of a client's connection.
package clientaddr
