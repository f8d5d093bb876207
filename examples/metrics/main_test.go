package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// metrics asks as Prometheus does, and returns what it understands.
func metrics(t *testing.T, front *httptest.Server) map[string]string {
	resp, err := front.Client().Get(front.URL + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, 200, resp.StatusCode)
	got := make(map[string]string)
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if at := strings.LastIndexByte(lines.Text(), ' '); !strings.HasPrefix(lines.Text(), "#") && at > 0 {
			got[lines.Text()[:at]] = lines.Text()[at+1:]
		}
	}
	return got
}

func TestMetrics(t *testing.T) {
	var members []*httptest.Server
	var urls []string
	for range 2 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, "hello")
		}))
		defer s.Close()
		members, urls = append(members, s), append(urls, s.URL)
	}
	h, err := site(urls)
	require.NoError(t, err)
	front := httptest.NewServer(h)
	defer front.Close()
	post := func() {
		resp, err := front.Client().Post(front.URL+"/x", "text/plain", strings.NewReader("four"))
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 200, resp.StatusCode)
	}
	for range 4 {
		post()
	}
	members[0].Close()
	for range 4 {
		post() // of which one goes to the dead member first
	}
	// A record is complete a little after the client has its answer.
	require.Eventually(t, func() bool { return metrics(t, front)[`proxy_requests_total{cache="",status="200"}`] == "8" }, 10*time.Second, time.Millisecond)
	got := metrics(t, front)
	for name, want := range map[string]string{
		`proxy_failed_attempts_total{member="` + urls[0] + `"}`:                    "1",
		`proxy_client_bytes_total{direction="received"}`:                           "32",
		`proxy_client_bytes_total{direction="sent"}`:                               "40",
		`proxy_request_seconds_count{phase="total"}`:                               "8",
		`proxy_request_seconds_count{phase="first-byte"}`:                          "8",
		`proxy_elected_total{kind="balancer",name="app"}`:                          "9",
		`proxy_elected_total{kind="member",name="` + urls[0] + `"}`:                "3",
		`proxy_errors_total{kind="member",name="` + urls[0] + `"}`:                 "1",
		`proxy_usable{kind="member",name="` + urls[1] + `"}`:                       "1",
		`proxy_usable{kind="balancer",name="app"}`:                                 "1",
		`proxy_backend_received_bytes_total{kind="member",name="` + urls[1] + `"}`: "30",
		`proxy_busy{kind="tunnels",name="tunnels"}`:                                "0",
		`proxy_connections{kind="backend",name="` + urls[0] + `"}`:                 "0",
	} {
		require.Equal(t, want, got[name], name)
	}
	require.Contains(t, got, `proxy_latency_seconds{kind="member",name="`+urls[1]+`"}`)
	_, err = site([]string{"nonsense"})
	require.Error(t, err)
}
