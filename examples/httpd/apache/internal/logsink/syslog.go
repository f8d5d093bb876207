package logsink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// facilities are those of syslog, by the names that httpd knows.
var facilities = map[string]int{
	"kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8, "cron": 9, "authpriv": 10, "ftp": 11,
	"local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21, "local6": 22, "local7": 23,
}

// Syslog sends lines to the system's log: "syslog", "syslog:facility",
// "syslog:facility:tag" or "syslog::tag". The facility is local7 and the tag "httpd"
// unless they are said. The severity is that which a line of package slog names. Where
// there is no such log, the lines are lost.
func Syslog(target string, lost func(lines int64)) (io.WriteCloser, error) {
	s := &system{facility: facilities["local7"], tag: "httpd", paths: []string{"/dev/log", "/var/run/syslog", "/var/run/log"}}
	parts := strings.SplitN(target, ":", 3)
	if len(parts) > 1 && parts[1] != "" {
		var known bool
		if s.facility, known = facilities[strings.ToLower(parts[1])]; !known {
			return nil, fmt.Errorf("syslog has no facility %q", parts[1])
		}
	}
	if len(parts) > 2 && parts[2] != "" {
		s.tag = parts[2]
	}
	return newQueue(s, lost), nil
}

// A system's log that does not answer is left alone for redialTime, and one that does
// not read for longer than sendTime is not waited for.
const (
	redialTime = time.Second
	sendTime   = time.Second
)

// system is the system's log. Write is called by its queue alone.
type system struct {
	facility int
	tag      string
	paths    []string
	tried    time.Time

	mu     sync.Mutex // guards conn against Close
	conn   net.Conn
	closed bool
}

func (s *system) Write(batch []byte) (int, error) {
	sent := 0
	for line := range bytes.Lines(batch) {
		conn, err := s.dial()
		if err != nil {
			return sent, err
		}
		_ = conn.SetWriteDeadline(time.Now().Add(sendTime))
		text := strings.TrimSuffix(string(line), "\n")
		if _, err := fmt.Fprintf(conn, "<%d>%s %s[%d]: %s\n", s.facility<<3|severity(text), time.Now().Format(time.Stamp), s.tag, os.Getpid(), text); err != nil {
			s.hangUp()
			return sent, err
		}
		sent += len(line)
	}
	return sent, nil
}

// severity is that of a line of package slog, as a number of syslog's.
func severity(line string) int {
	_, rest, _ := strings.Cut(line, "level=")
	switch level, _, _ := strings.Cut(rest, " "); {
	case strings.HasPrefix(level, "ERROR"):
		return 3
	case strings.HasPrefix(level, "WARN"):
		return 4
	case strings.HasPrefix(level, "INFO"):
		return 6
	case strings.HasPrefix(level, "DEBUG"), strings.HasPrefix(level, "TRACE"):
		return 7
	}
	return 5
}

func (s *system) dial() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		return s.conn, nil
	}
	if s.closed || time.Since(s.tried) < redialTime {
		return nil, net.ErrClosed
	}
	s.tried = time.Now()
	var all []error
	for _, path := range s.paths {
		for _, network := range []string{"unixgram", "unix"} {
			conn, err := net.DialTimeout(network, path, sendTime)
			if err == nil {
				s.conn = conn
				return conn, nil
			}
			all = append(all, err)
		}
	}
	return nil, errors.Join(all...)
}

func (s *system) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

func (s *system) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.hangUp()
	return nil
}
