package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
)

// documented returns the table as the package comment has it.
func documented() string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what has failed\tstatus\tsent again\tbackend\tlog")
	for _, f := range failures {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", f.Name, f.Status, f.Again, f.Blame, f.Level())
	}
	_ = w.Flush()
	return strings.ReplaceAll("//\t"+strings.TrimSuffix(text.String(), "\n"), "\n", "\n//\t") + "\n"
}

// TestTableIsDocumented: the comment is the table.
func TestTableIsDocumented(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	const begin, end = "// # The table of failures\n//\n", "//\n// "
	_, after, ok := strings.Cut(string(text), begin)
	require.True(t, ok, "doc.go has no heading")
	_, after, ok = strings.Cut(after, "//\n//\t")
	require.True(t, ok, "doc.go has no table")
	table, _, ok := strings.Cut("//\t"+after, end)
	require.True(t, ok, "nothing follows the table")
	require.Equal(t, documented(), table)
}

// TestRows: each error has its row, whatever it wraps, or is wrapped in.
func TestRows(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Err: err} }
	late := os.ErrDeadlineExceeded
	met := map[int]bool{}
	for _, tc := range []struct {
		err error
		row int
	}{
		{&Error{Op: OpClient, Err: &http.MaxBytesError{}}, failTooLarge},
		{&Error{Op: OpClient, Err: ErrClientGone}, failGone},
		{&Error{Op: OpHeader, Err: errors.Join(io.EOF, ErrClientStalled)}, failStalled},
		{ClientBodyError("", io.ErrNoProgress), failClientBody},
		{&Error{Op: OpClient, Err: io.ErrNoProgress}, failHook},
		{&Error{Op: OpRequest, Err: io.ErrNoProgress}, failRequest},
		{&Error{Op: OpHeader, Status: 403, Err: io.ErrNoProgress}, failRequest},
		{&Error{Op: OpRequest, Err: late}, failOverdue},
		{&Error{Op: OpDial, Err: ErrForbidden}, failForbidden},
		{&Error{Op: OpRequest, Err: ErrLoop}, failLoop},
		{&Error{Op: OpAcquire, Err: ErrBusy}, failBusy},
		{&Error{Op: OpAcquire, Err: late}, failBusy},
		{backend.ErrUnusable, failBusy},
		{&Error{Op: OpDial, Err: late}, failDial},
		{&Error{Op: OpDial, Err: &backend.DialError{Err: &backend.ServerNameError{Err: io.EOF}}}, failServerName},
		{&Error{Op: OpWrite, Err: io.ErrClosedPipe}, failWrite},
		{&Error{Op: OpWrite, Err: errors.Join(ErrStaleConn, io.ErrClosedPipe)}, failStale},
		{&Error{Op: OpHeader, Err: errSilent}, failSilent},
		{&Error{Op: OpWrite, Err: late}, failTimeout},
		{&Error{Op: OpBody, Err: context.DeadlineExceeded}, failTimeout},
		{fmt.Errorf("transport: %w", late), failTimeout},
		{&Error{Op: OpHeader, Err: fmt.Errorf("%w: no", ErrMalformed)}, failMalformed},
		{&Error{Op: OpHeader, Err: io.ErrUnexpectedEOF}, failHead},
		{&Error{Op: OpUpgrade, Err: io.EOF}, failUpgrade},
		{&Error{Op: OpBody, Err: io.ErrUnexpectedEOF}, failBody},
		{io.ErrUnexpectedEOF, failForeign},
		{dial(io.EOF), failForeignDial},
		{dial(late), failForeignLate},
	} {
		met[tc.row] = true
		require.Equal(t, failures[tc.row], FailureOf(tc.err), "%v", tc.err)
		require.Equal(t, failures[tc.row], FailureOf(fmt.Errorf("wrapped: %w", tc.err)), "%v", tc.err)
		var e *Error
		if !errors.As(tc.err, &e) || e.Status == 0 {
			require.Equal(t, failures[tc.row].Status, StatusOf(tc.err), "%v", tc.err)
		}
	}
	for row, f := range failures {
		require.True(t, met[row], "no error is called %q", f.Name)
		require.NotEmpty(t, f.Name)
	}
}

// TestMayResendByTable: who sends a request again asks the table.
func TestMayResendByTable(t *testing.T) {
	get, post := &http.Request{Method: http.MethodGet}, &http.Request{Method: http.MethodPost}
	require.True(t, MayResend(HeadError(nil, get, io.EOF, false)))
	require.False(t, MayResend(HeadError(nil, post, io.EOF, false)))
	require.False(t, MayResend(HeadError(nil, get, io.EOF, true)))
	require.False(t, MayResend(HeadError(nil, get, os.ErrDeadlineExceeded, false)))
	require.True(t, MayResend(WriteError(nil, post, io.ErrClosedPipe, false)))
	require.False(t, MayResend(WriteError(nil, get, io.ErrClosedPipe, true)))
	require.Equal(t, failures[failSilent], FailureOf(HeadError(nil, get, io.EOF, false)))
	require.Equal(t, failures[failHead], FailureOf(HeadError(nil, get, io.EOF, true)))
}
