package observation

import (
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInterimStatusIsNotFinal(t *testing.T) {
	w := &Writer{ResponseWriter: httptest.NewRecorder()}
	w.WriteHeader(103)
	w.WriteHeader(404)
	require.Equal(t, 404, w.status)
}
