package accesslog

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/observation"
)

// Formats of access logs in the language of Apache's LogFormat.
const (
	CommonLogFormat   = `%h %l %u %t "%r" %>s %b`
	CombinedLogFormat = `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"`
)

// Handler is middleware that writes a line for each request when its answer
// is complete, or its connection has been taken over. Apache: CustomLog.
//
// What came from the client is escaped, so that a request can neither end a
// line nor forge one. A client that left before its answer was complete is
// logged with status 499 if the request passed through a [proxy.Handler].
type Handler struct {
	// Output gets each line in one call of Write, from many goroutines at
	// once; an *os.File opened for appending is fit for that. If nil, nothing
	// is logged.
	Output io.Writer

	// Format is what a line looks like. If nil, [CommonLogFormat].
	Format *Format

	// Lookup, if not nil, is asked first for what surroundings may know: the
	// directives n and e of any name, v, V, p, ^FB, and c, f, k, L, R and x, which
	// without it are "-". Where it says false, the names of [Format] are known to
	// n and e, and all others are "-".
	Lookup func(r *http.Request, directive, name string) (value string, ok bool)

	// Skip, if not nil, is asked when a request is done whether to leave it
	// out. Apache: CustomLog … env=.
	Skip func(*http.Request) bool

	common sync.Once
	format *Format
}

// New returns a Handler that writes to w in a format of Apache's
// LogFormat language; an error names the directive that it does not know.
func New(w io.Writer, format string) (*Handler, error) {
	f, err := ParseFormat(format)
	if err != nil {
		return nil, err
	}
	return &Handler{Output: w, Format: f}, nil
}

// logEntry is what a line can tell of one request.
type logEntry struct {
	log    *Handler
	r      *http.Request
	w      *observation.Writer
	start  time.Time
	end    time.Time
	status int
	cut    bool // the answer broke off
	record *exchange.Record
}

// logLine is what a line is made of, and from.
type logLine struct {
	text  []byte
	entry logEntry
}

// logLines lends them.
var logLines = sync.Pool{New: func() any { return &logLine{text: make([]byte, 0, 512)} }}

// Wrap puts the log around next.
func (l *Handler) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.Output == nil {
			next.ServeHTTP(w, r)
			return
		}
		ob := observation.Begin(w, r)
		defer func() {
			ob.End()
			l.write(r, ob)
		}()
		next.ServeHTTP(&ob.Writer, &ob.Request)
		ob.Whole = true
	})
}

func (l *Handler) write(r *http.Request, ob *observation.Observation) {
	if l.Skip != nil && l.Skip(r) {
		return
	}
	rec := &ob.Record
	line := logLines.Get().(*logLine)
	defer logLines.Put(line)
	e := &line.entry
	*e = logEntry{log: l, r: r, w: &ob.Writer, start: rec.Start, end: rec.Start.Add(rec.Duration), status: rec.Status, record: rec}
	e.cut = !ob.Whole || rec.Status == exchange.StatusClientClosedRequest
	if e.status == 0 {
		e.status = http.StatusOK
	}
	line.text = append(l.compiled().append(line.text[:0], e), '\n')
	*e = logEntry{} // hold on to nothing
	_, _ = l.Output.Write(line.text)
}

func (l *Handler) compiled() *Format {
	if l.Format != nil {
		return l.Format
	}
	l.common.Do(func() { l.format, _ = ParseFormat(CommonLogFormat) })
	return l.format
}
