package proxy

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// Formats of access logs in the language of Apache's LogFormat.
const (
	CommonLogFormat   = `%h %l %u %t "%r" %>s %b`
	CombinedLogFormat = `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"`
)

// AccessLog is middleware that writes a line for each request when its answer
// is complete, or its connection has been taken over. Apache: CustomLog.
//
// What came from the client is escaped, so that a request can neither end a
// line nor forge one. A client that left before its answer was complete is
// logged with status 499 if the request passed through a [Handler].
type AccessLog struct {
	// Output gets each line in one call of Write, from many goroutines at
	// once; an *os.File opened for appending is fit for that. If nil, nothing
	// is logged.
	Output io.Writer

	// Format is what a line looks like. If nil, [CommonLogFormat].
	Format *LogFormat

	// User names the authenticated user of a request for %u. If nil, "-".
	User func(*http.Request) string

	// Note looks up %{name}n and %{name}e. If nil, "-".
	Note func(r *http.Request, name string) string

	// Skip, if not nil, is asked when a request is done whether to leave it
	// out. Apache: CustomLog … env=.
	Skip func(*http.Request) bool

	common sync.Once
	format *LogFormat
}

// NewAccessLog returns an AccessLog that writes to w in a format of Apache's
// LogFormat language; an error names the directive that it does not know.
func NewAccessLog(w io.Writer, format string) (*AccessLog, error) {
	f, err := ParseLogFormat(format)
	if err != nil {
		return nil, err
	}
	return &AccessLog{Output: w, Format: f}, nil
}

// logEntry is what a line can tell of one request.
type logEntry struct {
	log    *AccessLog
	r      *http.Request
	w      *countingWriter
	start  time.Time
	end    time.Time
	status int
	cut    bool // the answer broke off
	record *Record
}

// recordCarrier lets a handler further in give its record to the log, once it
// is complete. A handler that a cache runs in the background may come too late.
type recordCarrier struct {
	mu     sync.Mutex
	record *Record
	taken  bool
}

func (c *recordCarrier) give(r *Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.taken {
		c.record = r
	}
}

func (c *recordCarrier) take() *Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken = true
	return c.record
}

type carrierKey struct{}

// logLines lends buffers for lines.
var logLines = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// Wrap puts the log around next.
func (l *AccessLog) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.Output == nil {
			next.ServeHTTP(w, r)
			return
		}
		carrier := &recordCarrier{}
		e := logEntry{log: l, r: r, start: time.Now(), cut: true}
		cw := &countingWriter{ResponseWriter: w}
		e.w = cw
		defer func() {
			e.record = carrier.take()
			l.write(&e)
		}()
		next.ServeHTTP(cw, r.WithContext(context.WithValue(r.Context(), carrierKey{}, carrier)))
		e.cut = false
	})
}

func (l *AccessLog) write(e *logEntry) {
	if l.Skip != nil && l.Skip(e.r) {
		return
	}
	e.end = time.Now()
	e.status = e.w.status
	if e.status == 0 {
		e.status = http.StatusOK
	}
	if e.record != nil && e.record.Status == StatusClientClosedRequest {
		e.status, e.cut = StatusClientClosedRequest, true
	}
	line := logLines.Get().(*[]byte)
	defer logLines.Put(line)
	*line = append(l.compiled().append((*line)[:0], e), '\n')
	_, _ = l.Output.Write(*line)
}

func (l *AccessLog) compiled() *LogFormat {
	if l.Format != nil {
		return l.Format
	}
	l.common.Do(func() { l.format, _ = ParseLogFormat(CommonLogFormat) })
	return l.format
}
