package balancer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// Check is an active health check. Checks of a member begin at once, and each
// next one is timed from the end of the one before, so that they never overlap.
// The counts of passes and fails in a row begin anew at the opposite result.
// A template is just a value that several members share.
//
// A check has a connection of its own, beyond those of the member's Backend, as
// long as it goes through one: a member whose connections are all in use is not
// down, and none of them is taken or closed for a check.
//
// A member whose Check has a negative number, or no status that passes, is
// refused.
type Check struct {
	// Method is TCP (a connection can be opened), OPTIONS, HEAD or GET. The
	// latter three ask for Path. With "11" behind them the member is not told
	// that the connection will be closed; HTTP/1.1 is spoken in any case.
	// Apache: hcmethod.
	Method string `json:"method,omitempty"`

	// Func, if not nil, does the check in place of Method: for protocols of
	// your own. Its context ends after Timeout, and is one of
	// [backend.WithCheck]. While it does not return, checks fail without it.
	Func func(ctx context.Context, m *Member) error `json:"-"`

	// Interval is the time between checks, spread by a tenth at random. Zero
	// means 30 s; less than 100 ms means 100 ms, as in Apache. Apache: hcinterval.
	Interval time.Duration `json:"interval,omitempty"`

	// Timeout bounds a check. Zero means 10 s.
	Timeout time.Duration `json:"timeout,omitempty"`

	// Passes and Fails are how many results in a row it takes to use the
	// member again, and to use it no more. Zero means 1. Apache: hcpasses,
	// hcfails.
	Passes int `json:"passes,omitempty"`
	Fails  int `json:"fails,omitempty"`

	// Path is what HTTP checks ask for, put behind the path of the member's
	// URL; it may have a query. Empty means "/". Apache: hcuri.
	Path string `json:"path,omitempty"`

	// Host is the Host of HTTP checks. Empty means the member's.
	Host string `json:"host,omitempty"`

	// MinStatus and MaxStatus are the first and the last status that pass. Zero means
	// 200 and 399. Apache: hcexpr.
	MinStatus int `json:"minStatus,omitempty"`
	MaxStatus int `json:"maxStatus,omitempty"`

	// Expect, if not nil, judges answers in place of the statuses. body is the
	// beginning of the body, up to 64 KB. Apache: hcexpr with hc('body').
	Expect func(resp *http.Response, body []byte) error `json:"-"`

	// Unproven keeps a new member out of use until it has passed. Otherwise it
	// is used from the start, until it fails.
	Unproven bool `json:"unproven,omitempty"`
}

const (
	defaultCheckInterval = 30 * time.Second
	defaultCheckTimeout  = 10 * time.Second
	leastCheckInterval   = 100 * time.Millisecond
	maxCheckBody         = 64 << 10
)

func (c *Check) validate() error {
	if c.Func == nil {
		switch c.httpMethod() {
		case "TCP", "OPTIONS", "HEAD", "GET":
		default:
			return fmt.Errorf("method %q: want TCP, OPTIONS, HEAD or GET", c.Method)
		}
	}
	if c.Interval < 0 || c.Timeout < 0 || c.Passes < 0 || c.Fails < 0 {
		return errors.New("a negative number")
	}
	if low, high := c.statuses(); low < 0 || high < low {
		return fmt.Errorf("no status is in %d to %d", low, high)
	}
	if _, err := url.ParseRequestURI(c.path()); err != nil || c.path()[0] != '/' {
		return fmt.Errorf("path %q: want /path", c.Path)
	}
	return nil
}

func (c *Check) httpMethod() string { return strings.TrimSuffix(strings.ToUpper(c.Method), "11") }

func (c *Check) path() string {
	if c.Path == "" {
		return "/"
	}
	return c.Path
}

// statuses are the first and the last that pass.
func (c *Check) statuses() (low, high int) {
	return cmp.Or(c.MinStatus, http.StatusOK), cmp.Or(c.MaxStatus, 399)
}

// interval is the time between checks, at least leastCheckInterval, and little
// enough to be spread.
func (c *Check) interval() time.Duration {
	return min(max(cmp.Or(c.Interval, defaultCheckInterval), leastCheckInterval), math.MaxInt64/2)
}

// run does the check once.
func (c *Check) run(ctx context.Context, m *Member) (err error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = defaultCheckTimeout
	}
	ctx, cancel := context.WithTimeout(backend.WithCheck(ctx), timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil { // of a user: a failure, not an end
			err = fmt.Errorf("check panicked: %v", p)
		}
	}()
	if m.overdue.Load() == c {
		return errOverdue
	}
	var returned atomic.Bool
	_, err = backend.Within(ctx, func(ctx context.Context) (any, error) {
		defer func() {
			returned.Store(true)
			m.overdue.CompareAndSwap(c, nil)
		}()
		return nil, c.once(ctx, m)
	}, func(any) {})
	if !returned.Load() {
		m.overdue.Store(c)
		if returned.Load() { // meanwhile
			m.overdue.CompareAndSwap(c, nil)
		}
	}
	return err
}

// once does the check, for as long as ctx allows if what it calls obeys it.
func (c *Check) once(ctx context.Context, m *Member) error {
	switch {
	case c.Func != nil:
		return c.Func(ctx, m)
	case c.httpMethod() == "TCP":
		return m.connect(ctx)
	}
	return c.ask(ctx, m)
}

// connect opens a connection to the member.
func (m *Member) connect(ctx context.Context) error {
	if m.backend != nil {
		return m.backend.Probe(ctx)
	}
	port := m.base.Port()
	if port == "" {
		port = backend.DefaultPort(m.base.Scheme)
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(m.base.Hostname(), port))
	if err != nil {
		return err
	}
	return c.Close()
}

// ask sends a request through the member's RoundTripper.
func (c *Check) ask(ctx context.Context, m *Member) error {
	path, query, _ := strings.Cut(c.path(), "?")
	u := m.base
	u.RawQuery = query
	u.RawPath = m.rawBase + path
	decoded, err := url.PathUnescape(u.RawPath)
	if err != nil {
		return err
	}
	u.Path = decoded
	r, err := http.NewRequestWithContext(ctx, c.httpMethod(), u.String(), nil)
	if err != nil {
		return err
	}
	r.Header["User-Agent"] = []string{"modproxy (health check)"}
	if r.Host = m.config.Load().Host; c.Host != "" {
		r.Host = c.Host
	}
	r.Close = !strings.HasSuffix(c.Method, "11")
	resp, err := m.rt.RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxCheckBody))
	if err != nil {
		return err
	}
	if c.Expect != nil {
		return c.Expect(resp, body)
	}
	if low, high := c.statuses(); resp.StatusCode < low || resp.StatusCode > high {
		return fmt.Errorf("status %d is not in %d to %d", resp.StatusCode, low, high)
	}
	return nil
}
