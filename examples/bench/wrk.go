package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// wrk is the loader that runs the program at path.
func wrk(path string) loader {
	return func(ctx context.Context, dir, addr string, w *workload, connections int, d time.Duration) (load, error) {
		// It counts whole seconds only.
		seconds := max(1, int64(d.Round(time.Second)/time.Second))
		args := []string{
			"--latency", "--timeout", "20s",
			"-t", strconv.Itoa(min(connections, max(1, runtime.NumCPU()))),
			"-c", strconv.Itoa(connections),
			"-d", strconv.FormatInt(seconds, 10) + "s",
		}
		if w.send > 0 {
			script := filepath.Join(dir, "request.lua")
			text := fmt.Sprintf("wrk.method = %q\nwrk.body = string.rep('x', %d)\nwrk.headers['Content-Type'] = 'application/octet-stream'\n", w.method, w.send)
			if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
				return load{}, err
			}
			args = append(args, "-s", script)
		}
		cmd := exec.CommandContext(ctx, path, append(args, "http://"+addr+w.path)...)
		cmd.WaitDelay = time.Second
		out, err := cmd.CombinedOutput()
		if err != nil {
			return load{}, fmt.Errorf("wrk: %w\n%s", err, out)
		}
		return parseWrk(string(out))
	}
}

var (
	wrkTotal  = regexp.MustCompile(`(?m)^\s*(\d+) requests in ([\d.]+[a-z]+),`)
	wrkP99    = regexp.MustCompile(`(?m)^\s*99%\s+([\d.]+[a-z]+)\s*$`)
	wrkErrors = regexp.MustCompile(`(?m)^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	wrkStatus = regexp.MustCompile(`(?m)^\s*Non-2xx or 3xx responses: (\d+)`)
)

// parseWrk reads what wrk prints with --latency.
func parseWrk(out string) (load, error) {
	total, p99 := wrkTotal.FindStringSubmatch(out), wrkP99.FindStringSubmatch(out)
	if total == nil || p99 == nil {
		return load{}, fmt.Errorf("cannot read what wrk says:\n%s", strings.TrimSpace(out))
	}
	var l load
	var err error
	if l.requests, err = strconv.ParseInt(total[1], 10, 64); err != nil {
		return load{}, err
	}
	if l.took, err = time.ParseDuration(total[2]); err != nil {
		return load{}, err
	}
	if l.p99, err = time.ParseDuration(p99[1]); err != nil {
		return load{}, err
	}
	for _, m := range [][]string{wrkErrors.FindStringSubmatch(out), wrkStatus.FindStringSubmatch(out)} {
		for _, digits := range m[min(1, len(m)):] {
			n, err := strconv.ParseInt(digits, 10, 64)
			if err != nil {
				return load{}, err
			}
			l.failed += n
		}
	}
	if bad := wrkStatus.FindStringSubmatch(out); bad != nil { // wrk counts them as answered
		n, _ := strconv.ParseInt(bad[1], 10, 64)
		l.requests -= n
	}
	return l, nil
}
