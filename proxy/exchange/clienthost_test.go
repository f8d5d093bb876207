package exchange

import (
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestClientHost: a Host that was changed for the backend is not that of the client,
// and a trusted peer knows better.
func TestClientHost(t *testing.T) {
	r := httptest.NewRequest("GET", "http://client.test/", nil)
	r.Host = "inner.test"
	require.Equal(t, "inner.test", FactsOf(r, nil).Host)
	require.Equal(t, "client.test", FactsOf(WithClientHost(r, "client.test"), nil).Host)
}
