package ftpproxy

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// info is what the server tells of a file.
type info struct {
	size     int64     // negative: not known
	modified time.Time // zero: not known
}

// etag is made of size and time; empty if one is not known. What changes twice
// in a second and keeps its length has the same.
func (i info) etag() string {
	if i.size < 0 || i.modified.IsZero() {
		return ""
	}
	return `"` + strconv.FormatInt(i.size, 16) + "-" + strconv.FormatInt(i.modified.Unix(), 16) + `"`
}

// wholeBelow is the size up to which a file is read, and the transfer ended,
// before the answer is given: so the connection is free early, and what goes
// wrong is told by a status.
const wholeBelow = 32 << 10

// file answers GET and HEAD for a path that does not end in a slash.
func (x *attempt) file() (*http.Response, *exchange.Error) {
	if err := x.prepare(); err != nil {
		return nil, err
	}
	name := x.at.file()
	i, found, perr := x.stat(name)
	if perr != nil {
		return nil, perr
	}
	if wild := hasWildcard(x.at.name); !found && wild && x.t.EscapeWildcards {
		name = join(x.at.dir, escapeWildcards(x.at.name))
		if i, found, perr = x.stat(name); perr != nil {
			return nil, perr
		}
	}
	if !found {
		return x.noFile()
	}
	return x.send(name, i)
}

// prepare brings the session to where names of files are understood.
func (x *attempt) prepare() *exchange.Error {
	err := x.s.setType(false) // in which sizes are told
	if err == nil && (x.at.dir == "" || x.at.dir[0] != '/') {
		err = x.s.toHome()
	}
	if err != nil {
		return x.failed(phasePath, err)
	}
	return nil
}

// stat asks for size and time. A server that cannot tell the size is believed
// to have the file.
func (x *attempt) stat(name string) (i info, found bool, perr *exchange.Error) {
	s := x.s
	i.size = -1
	size, err := s.ftp.FileSize(guard(name))
	switch {
	case err == nil:
		i.size = max(size, -1)
	case x.refusedBy(err, 550, 551, 553):
		return i, false, nil
	case x.refusedBy(err, 500, 501, 502, 503, 504, 202):
	case s.ctl.failure == nil && s.ctl.code == 213: // what it said is no number
	default:
		return i, false, x.failed(phasePath, err)
	}
	if s.ftp.IsGetTimeSupported() {
		at, err := s.ftp.GetTime(guard(name))
		if s.ctl.failure != nil || s.ctl.code == 421 {
			return i, false, x.failed(phasePath, err)
		}
		if err == nil && at.Unix() > 0 {
			i.modified = at
		}
	}
	return i, true, nil
}

// noFile answers for a name that is no file: a directory, a pattern, or
// nothing.
func (x *attempt) noFile() (*http.Response, *exchange.Error) {
	err := x.s.changeDir(x.at.path())
	switch {
	case err == nil && (x.at.slash || pathEndsInSlash(x.escapedClientPath())):
		return x.list(x.at.path(), nil)
	case err == nil:
		return x.toSlash(), nil
	case !x.refusedBy(err, 550, 551, 553, 501, 504):
		return x.refusedPath(phasePath, err)
	case !x.t.NoWildcards && isPattern(x.at.name):
		return x.directory(x.at.dir, newPattern(x.at.name))
	}
	return x.notFound(), nil
}

// send answers for a file that is there.
func (x *attempt) send(name string, i info) (*http.Response, *exchange.Error) {
	ascii := x.at.kind == 'a'
	if ascii {
		i.size = -1 // of other bytes than those that come
	}
	h := x.fileHeader(name, i)
	if status := precondition(x.r, i); status != 0 {
		delete(h, "Content-Type")
		return say(x.r, status, h), nil
	}
	if x.r.Method == http.MethodHead {
		return respond(x.r, http.StatusOK, h, http.NoBody, i.size), nil
	}
	want := wholeFile(i.size)
	if x.canResume() && i.size >= 0 {
		var ok bool
		if want, ok = rangeOf(x.r, i); !ok {
			h["Content-Range"] = []string{fmt.Sprintf("bytes */%d", i.size)}
			return say(x.r, http.StatusRequestedRangeNotSatisfiable, h), nil
		}
	}
	if err := x.s.setType(ascii); err != nil {
		return nil, x.failed(phasePath, err)
	}
	err := x.retrieve(name, want.from)
	if err != nil && want.part && x.s.ctl.verb == "REST" && x.refusedBy(err, 500, 501, 502, 503, 504, 550) {
		want = wholeFile(i.size)
		err = x.retrieve(name, 0)
	}
	if err != nil {
		if x.s.ctl.verb == "RETR" && x.refusedBy(err, 550, 551, 553) && x.s.dialErr == nil {
			return x.noFile() // some servers tell the size of directories, too
		}
		return x.refusedPath(phaseTransfer, err)
	}
	if err := x.s.handshakeData(x.ctx); err != nil {
		return nil, &exchange.Error{Op: exchange.OpHeader, Err: err}
	}
	return x.stream(name, h, want, i.size)
}

// stream makes the answer whose body is the data connection.
func (x *attempt) stream(name string, h http.Header, want span, size int64) (*http.Response, *exchange.Error) {
	status, length := http.StatusOK, size
	if want.part {
		status, length = http.StatusPartialContent, want.length
		h["Content-Range"] = []string{fmt.Sprintf("bytes %d-%d/%d", want.from, want.from+length-1, size)}
	}
	b := &fileBody{x: x, name: name, size: size, left: length, toEnd: want.from+length == size}
	if length < 0 || length > wholeBelow {
		return respond(x.r, status, h, b, length), nil
	}
	content := make([]byte, length)
	x.s.data.hold() // no byte is passed on before the last one is here
	if _, err := io.ReadFull(x.s.data, content); err != nil {
		return nil, b.broken(exchange.OpHeader, err)
	}
	if err := b.finish(exchange.OpHeader); err != nil {
		return nil, err
	}
	return respond(x.r, status, h, wholeBody(content), length), nil
}

// retrieve opens the transfer of a file.
func (x *attempt) retrieve(name string, from int64) error {
	_, err := x.s.ftp.RetrFrom(guard(name), uint64(from))
	return err
}

// canResume reports whether the server can begin in the middle of a file. One
// that does not tell is tried.
func (x *attempt) canResume() bool {
	return x.at.kind != 'a' && (len(x.s.ctl.features) == 0 || x.s.ctl.has("REST"))
}

func (x *attempt) fileHeader(name string, i info) http.Header {
	h := make(http.Header, 8)
	h["Content-Type"] = []string{x.contentType(name)}
	if !i.modified.IsZero() {
		h["Last-Modified"] = []string{i.modified.UTC().Format(http.TimeFormat)}
	}
	if tag := i.etag(); tag != "" {
		h["Etag"] = []string{tag}
	}
	if i.size >= 0 && x.canResume() {
		h["Accept-Ranges"] = []string{"bytes"}
	}
	if x.who.private() {
		h["Cache-Control"] = []string{"private"}
	}
	return h
}

func (x *attempt) contentType(name string) string {
	if x.t.ContentType != nil {
		if ct := x.t.ContentType(path.Base(name)); ct != "" {
			return ct
		}
	}
	if ct := mime.TypeByExtension(path.Ext(name)); ct != "" {
		return ct
	}
	if x.at.kind == 'a' {
		return "text/plain"
	}
	return "application/octet-stream"
}

func pathEndsInSlash(p string) bool { return p == "" || p[len(p)-1] == '/' }
