package fcgi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// TestAuthorizerByPHP: a script of php-fpm decides who is served, and says who it
// is.
func TestAuthorizerByPHP(t *testing.T) {
	onBoth(t, programs.PHPFPMOptions{}, func(t *testing.T, f *phpFPM) {
		script := f.AddFile("auth.php", `<?php
			if ($_SERVER['FCGI_ROLE'] !== 'AUTHORIZER' || ($_GET['key'] ?? '') !== 'opensesame') {
				http_response_code(403);
				exit('go away');
			}
			header('Variable-REMOTE_USER: ann');`)
		served := 0
		a, err := NewAuthorizer(f.target() + script)
		require.NoError(t, err)
		h := a.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			served++
			fmt.Fprint(w, "hello ", Variables(r.Context())["REMOTE_USER"])
		}))
		for _, tc := range []struct {
			path   string
			status int
			body   string
		}{
			{"/x?key=opensesame", 200, "hello ann"},
			{"/x?key=wrong", 403, "go away"},
			{"/x", 403, "go away"},
		} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", tc.path, nil))
			require.Equal(t, tc.status, w.Code, tc.path)
			require.Equal(t, tc.body, w.Body.String(), tc.path)
		}
		require.Equal(t, 1, served)
	})
}

// TestAuthorizerRefusesTargets: no authorizer is taken for one that is not there.
func TestAuthorizerRefusesTargets(t *testing.T) {
	for _, target := range []string{"", "nonsense", "http://127.0.0.1:9000/auth.php", "fcgi://", "unix:/run/x.sock|http://localhost/auth.php"} {
		a, err := NewAuthorizer(target)
		require.Error(t, err, target)
		require.Nil(t, a, target)
	}
	a, err := NewAuthorizer("fcgi://127.0.0.1:1/auth.php")
	require.NoError(t, err)
	h := a.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("served") }))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
}
