package main

import (
	"context"
	"fmt"
	"os/exec"
	"time"
)

// load is what a load generator has seen.
type load struct {
	requests int64 // that were answered well
	failed   int64
	took     time.Duration
	p99      time.Duration
}

// loader sends requests for a time. dir is a place for files of its own.
type loader func(ctx context.Context, dir, addr string, w *workload, connections int, d time.Duration) (load, error)

// chooseLoader returns the loader with that name, and the name.
func chooseLoader(name string) (loader, string, error) {
	path, err := exec.LookPath("wrk")
	switch name {
	case "auto":
		if err != nil {
			return builtin, "built-in load", nil
		}
		return wrk(path), "wrk", nil
	case "wrk":
		if err != nil {
			return nil, "", fmt.Errorf("wrk is not installed (Debian: wrk)")
		}
		return wrk(path), "wrk", nil
	case "builtin":
		return builtin, "built-in load", nil
	}
	return nil, "", fmt.Errorf("-load must be wrk, builtin or auto")
}

// check refuses a result that says nothing. A proxy may close a few idle
// connections while they are used.
func (l load) check() error {
	if l.requests == 0 {
		return fmt.Errorf("no request was answered, %d failed", l.failed)
	}
	if l.failed > l.requests/1000+1 {
		return fmt.Errorf("%d of %d requests failed", l.failed, l.failed+l.requests)
	}
	return nil
}
