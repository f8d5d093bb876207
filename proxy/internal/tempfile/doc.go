// Package tempfile keeps bodies that are too long for memory.
package tempfile
