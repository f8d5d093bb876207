package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const wrkOutput = `Running 1s test @ http://127.0.0.1:7002/bytes/1024
  2 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     6.52ms    4.45ms  47.06ms   87.33%
    Req/Sec     5.38k     1.05k    6.71k    75.00%
  Latency Distribution
     50%    5.42ms
     75%    7.06ms
     90%   10.54ms
     99%   24.71ms
  10733 requests in 1.01s, 11.69MB read
Requests/sec:  10612.67
Transfer/sec:     11.56MB
`

func TestParseWrk(t *testing.T) {
	l, err := parseWrk(wrkOutput)
	require.NoError(t, err)
	require.Equal(t, load{requests: 10733, took: 1010 * time.Millisecond, p99: 24710 * time.Microsecond}, l)

	l, err = parseWrk(strings.Replace(wrkOutput, "Requests/sec:", "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 33\nRequests/sec:", 1))
	require.NoError(t, err)
	require.Equal(t, int64(43), l.failed)
	require.Equal(t, int64(10700), l.requests)
	require.ErrorContains(t, l.check(), "43 of 10743 requests failed")

	_, err = parseWrk("unable to connect to 127.0.0.1:1 Connection refused\n")
	require.ErrorContains(t, err, "Connection refused")
}

func TestLoadCheck(t *testing.T) {
	require.Error(t, load{failed: 3}.check())
	require.Error(t, load{requests: 1000, failed: 3}.check())
	require.NoError(t, load{requests: 1000, failed: 2}.check())
	require.NoError(t, load{requests: 1}.check())
}

func TestReport(t *testing.T) {
	ms := time.Millisecond
	cs := []*contender{
		{peer: &modproxyPeer, samples: []sample{{20 * time.Microsecond, 900, 3 * ms}, {30 * time.Microsecond, 1000, 2 * ms}, {90 * time.Microsecond, 1100, 9 * ms}}},
		{peer: &httputilPeer, samples: []sample{{60 * time.Microsecond, 500, 4 * ms}, {70 * time.Microsecond, 500, 4 * ms}}},
	}
	var b strings.Builder
	require.NoError(t, report(&b, cs, 10<<20))
	require.Equal(t, []string{
		"proxy CPU µs/request its/ours ours/its least ours/its requests/s p99 ms CPU s/GiB",
		"modproxy 30.0 1.00 1.00 20.0 1.00 1000 3.00 0.003",
		"httputil 60.0 2.00 0.50 60.0 0.33 500 4.00 0.006",
	}, words(b.String()))

	b.Reset()
	require.NoError(t, report(&b, []*contender{{peer: &httputilPeer, samples: []sample{{0, 500, ms}}}}, 1))
	require.Contains(t, words(b.String()), "httputil - - - - - 500 1.00 -")
	require.Contains(t, b.String(), "Linux")
}

// words returns the lines of a table with single blanks.
func words(s string) []string {
	var lines []string
	for line := range strings.Lines(strings.TrimSpace(s)) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}
