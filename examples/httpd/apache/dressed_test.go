package apache

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// straight is a client to whom a file can go its shortest way.
type straight struct {
	*httptest.ResponseRecorder
	read int64
}

func (w *straight) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseRecorder, r)
	w.read += n
	return n, err
}

// TestExpiresKeepsTheShortestWay: a file whose expiry is said is not copied for that.
func TestExpiresKeepsTheShortestWay(t *testing.T) {
	on := true
	s := new(served)
	s.files.expires.active = &on
	w := &straight{ResponseRecorder: httptest.NewRecorder()}
	n, err := io.Copy(s.dressed(w, "text/plain", time.Now()), io.LimitReader(strings.NewReader("a file"), 6))
	require.NoError(t, err)
	require.EqualValues(t, 6, n)
	require.EqualValues(t, 6, w.read)
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "a file", w.Body.String())
}
