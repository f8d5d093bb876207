// Package logsink is where the lines of logs go: to files, FIFOs, devices, programs
// and the system's log. Whoever writes a line never waits for one that does not read.
//
//	line ─► file
//	     ─► queue, bounded ─► FIFO, device, syslog
//	                       ─► pipe ─► program, started again when it ends
//
// What a queue has no room for is lost, counted, and told.
package logsink
