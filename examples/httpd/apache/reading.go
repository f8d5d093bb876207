package apache

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// settleTime is how long the files of a configuration must stay as they are before a
// reload believes them, and settleTries how often that is tried.
const (
	settleTime  = 50 * time.Millisecond
	settleTries = 60
)

// reading is what came of reading the files of a configuration.
type reading struct {
	filesSeen
	list     []*conf.Directive
	err      error
	warnings []*conf.Error
	sum      [sha256.Size]byte // of all files, in order
}

// filesSeen is what would not be there in files that are cut.
type filesSeen struct {
	files   map[string]fileSeen
	listens bool // there is a Listen or a <VirtualHost>
}

type fileSeen struct {
	size, lines int
	whole       bool
}

// isWhole reports whether the last line of a text is all there: it is ended, or it ends
// a section.
func isWhole(text []byte) bool {
	last := text[bytes.LastIndexByte(text, '\n')+1:]
	return len(text) > 0 && len(last) == 0 || bytes.HasPrefix(bytes.TrimSpace(last), []byte("</")) && bytes.HasSuffix(last, []byte(">"))
}

// readOnce reads the configuration as it stands.
func (s *Site) readOnce(o conf.Options) *reading {
	now := &reading{filesSeen: filesSeen{files: make(map[string]fileSeen)}}
	sum := sha256.New()
	o.Warn = func(e *conf.Error) { now.warnings = append(now.warnings, e) }
	o.Seen = func(name string, text []byte) {
		now.files[name] = fileSeen{size: len(text), lines: bytes.Count(text, []byte("\n")), whole: isWhole(text)}
		fmt.Fprintf(sum, "%d %s %d %s", len(name), name, len(text), text)
	}
	now.list, now.err = s.parse(o)
	sum.Sum(now.sum[:0])
	now.listens = slices.ContainsFunc(now.list, func(d *conf.Directive) bool {
		return d.Is("Listen") && !d.Section || d.Is("VirtualHost") && d.Section
	})
	return now
}

// readSettled reads the configuration for a reload: until two readings in a row are
// the same, since an editor, or cp, may be just about to write. What looks as if a
// file were cut is an error.
func (s *Site) readSettled(o func() conf.Options, before filesSeen) *reading {
	now := s.readOnce(o())
	if len(now.files) == 0 && now.err == nil { // a text of Parse
		return now
	}
	for range settleTries {
		time.Sleep(settleTime)
		next := s.readOnce(o())
		if next.sum == now.sum {
			if next.err == nil {
				next.err = next.cut(before)
			}
			return next
		}
		now = next
	}
	now.err = fmt.Errorf("the configuration is being written all the time: it has changed %d times in %v", settleTries, settleTries*settleTime)
	return now
}

// cut says what is missing that was there before.
func (now filesSeen) cut(before filesSeen) error {
	var all conf.Errors
	for name, file := range now.files {
		old := before.files[name]
		at := &conf.Directive{File: name, Line: file.lines + 1}
		switch {
		case file.size == 0 && old.size > 0:
			all.Add(at.Errorf("the file is empty and was not before: is it cut? A comment in it says that it is meant"))
		case !file.whole && old.whole:
			all.Add(at.Errorf("the last line has no end and had one before: is the file cut?"))
		}
	}
	if before.listens && !now.listens {
		all.Add(errors.New("the configuration has neither Listen nor <VirtualHost> and had one before: is it cut?"))
	}
	return all.Err()
}
