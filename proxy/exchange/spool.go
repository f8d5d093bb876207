package exchange

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/modproxy/modproxy/proxy/internal/copybuf"
	"github.com/modproxy/modproxy/proxy/internal/tempfile"
)

// Defaults of the fields of a [Spool].
const (
	DefaultSpoolMemory = 64 << 10
	DefaultSpoolMax    = 1 << 30
)

// Spool reads request bodies to their end before they are sent, so that they
// have a length: for backends that cannot read the chunked coding, and for
// protocols that have none, such as FastCGI. While a slow client sends, no
// connection to the backend is held, and what was read can be sent again. The
// zero value is ready for use, by any goroutine. Apache: proxy-sendcl.
type Spool struct {
	// Memory is how many bytes of a body are kept in memory; of a longer one,
	// the whole is kept in a temporary file. Zero means 65536; negative keeps
	// everything in files.
	Memory int64

	// Max is the length of the longest body that is taken; the answer to a
	// longer one is 413. Zero means 1 GiB; negative means no limit.
	Max int64

	// Dir is where temporary files are made; they have no name there for
	// longer than a moment, where the system allows it. Empty means
	// [os.TempDir].
	Dir string

	// All also reads bodies whose length is known. Without it they pass
	// unread.
	All bool
}

// Request reads the body of r and returns a request with a body that has a
// length and can be had again from GetBody. What a body with a length cannot
// have is taken out of it: Expect, which has been met, and trailers. A request
// that needs none of this is returned as it is.
//
// Call done when the request that was returned will not be sent any more: with
// the last of the bodies closed, it removes the file. The body of r is closed in
// any case. Errors are [*Error]s: OpClient with status 413, or as the failure of
// the client was, or OpRequest with status 500 if the file could not be
// written.
func (s *Spool) Request(r *http.Request) (out *http.Request, done func(), err error) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength > 0 && !s.All {
		return r, func() {}, nil
	}
	defer r.Body.Close()
	limit := s.Max
	if limit == 0 {
		limit = DefaultSpoolMax
	}
	if limit > 0 && r.ContentLength > limit {
		return nil, nil, tooLarge(limit)
	}
	sp := &spooled{}
	sp.refs.Store(1)
	if err := sp.fill(s, r.Body, limit); err != nil {
		sp.release()
		return nil, nil, err
	}
	if r.ContentLength > 0 && sp.size != r.ContentLength {
		sp.release()
		return nil, nil, ClientBodyError("", fmt.Errorf("request body has %d bytes of %d: %w", sp.size, r.ContentLength, io.ErrUnexpectedEOF))
	}
	return sp.request(r), sp.release, nil
}

func tooLarge(limit int64) *Error {
	return &Error{Op: OpClient, Status: http.StatusRequestEntityTooLarge, Err: &http.MaxBytesError{Limit: limit}}
}

// spooled is a body that was read to its end. Whoever may still read it holds a
// reference.
type spooled struct {
	refs   atomic.Int32
	size   int64
	memory []byte         // all of it, unless there is a file
	file   *tempfile.File // nil, or all of it
}

// fill reads body, up to limit bytes.
func (sp *spooled) fill(s *Spool, body io.Reader, limit int64) error {
	memory := s.Memory
	if memory == 0 {
		memory = DefaultSpoolMemory
	}
	lent := copybuf.Pool.Get().(*[copybuf.Size]byte)
	defer copybuf.Pool.Put(lent)
	for {
		n, err := body.Read(lent[:])
		if limit > 0 && sp.size+int64(n) > limit {
			return tooLarge(limit)
		}
		if werr := sp.add(lent[:n], memory, s.Dir); werr != nil {
			return &Error{Op: OpRequest, Status: http.StatusInternalServerError, Err: fmt.Errorf("request body cannot be kept: %w", werr)}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return ClientBodyError("", err)
		}
	}
}

// add appends data, in memory for as long as that is enough.
func (sp *spooled) add(data []byte, memory int64, dir string) error {
	sp.size += int64(len(data))
	if sp.file == nil && sp.size <= memory {
		sp.memory = append(sp.memory, data...)
		return nil
	}
	if len(data) == 0 {
		return nil
	}
	if sp.file == nil {
		f, err := tempfile.Create(dir)
		if err != nil {
			return err
		}
		sp.file = f
		if _, err := sp.file.Write(sp.memory); err != nil {
			return err
		}
		sp.memory = nil
	}
	_, err := sp.file.Write(data)
	return err
}

// release drops a reference; with the last one goes the file.
func (sp *spooled) release() {
	if sp.refs.Add(-1) > 0 || sp.file == nil {
		return
	}
	_ = sp.file.Close()
}

// request returns r with the body that was read.
func (sp *spooled) request(r *http.Request) *http.Request {
	out := *r
	out.ContentLength, out.TransferEncoding, out.Trailer = sp.size, nil, nil
	if r.Header["Expect"] != nil {
		out.Header = make(http.Header, len(r.Header))
		for name, values := range r.Header {
			if name != "Expect" {
				out.Header[name] = values
			}
		}
	}
	if sp.size == 0 {
		out.Body, out.GetBody = http.NoBody, nil
		return &out
	}
	out.Body = sp.reader()
	out.GetBody = sp.again
	return &out
}

var errSpoolDone = errors.New("exchange: request body is not kept any more")

// again is the GetBody of a request.
func (sp *spooled) again() (io.ReadCloser, error) {
	for {
		n := sp.refs.Load()
		if n <= 0 {
			return nil, errSpoolDone
		}
		if sp.refs.CompareAndSwap(n, n+1) {
			return sp.open(), nil
		}
	}
}

// reader is again while a reference is held.
func (sp *spooled) reader() io.ReadCloser {
	sp.refs.Add(1)
	return sp.open()
}

func (sp *spooled) open() *spoolReader { return &spoolReader{sp: sp} }

// spoolReader reads a spooled body from its begin.
type spoolReader struct {
	sp *spooled

	mu   sync.Mutex // guards the rest: Close may come while another goroutine reads
	at   int64
	done bool
}

func (r *spoolReader) Read(p []byte) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.done:
		return 0, errSpoolDone
	case r.at == r.sp.size:
		return 0, io.EOF
	case r.sp.file == nil:
		n = copy(p, r.sp.memory[r.at:])
	default:
		n, err = r.sp.file.ReadAt(p[:min(int64(len(p)), r.sp.size-r.at)], r.at)
		if err == io.EOF && n > 0 {
			err = nil
		}
	}
	r.at += int64(n)
	return n, err
}

// Close gives the reader's part in the body back.
func (r *spoolReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.done {
		r.done = true
		r.sp.release()
	}
	return nil
}
