// Package copybuf lends the buffers through which bodies are copied.
package copybuf
