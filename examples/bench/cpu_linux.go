package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// tick is the unit of times in /proc/PID/stat: USER_HZ is 100 on all machines
// that Go runs on.
const tick = time.Second / 100

// procStat is what we need of /proc/PID/stat.
type procStat struct {
	parent   int
	cpu      time.Duration // its own, and that of children that have ended
	resident int64         // pages
}

// cpuTime returns the CPU time, user and system, that a process and all its
// descendants have used.
func cpuTime(pid int) (time.Duration, error) {
	var sum time.Duration
	err := eachOf(pid, func(s procStat) { sum += s.cpu })
	return sum, err
}

// residentBytes returns the resident memory of a process and all its
// descendants.
func residentBytes(pid int) (int64, error) {
	var pages int64
	err := eachOf(pid, func(s procStat) { pages += s.resident })
	return pages * int64(os.Getpagesize()), err
}

// eachOf calls f for a process and all its descendants.
func eachOf(pid int, f func(procStat)) error {
	stats, err := allStats()
	if err != nil {
		return err
	}
	if _, ok := stats[pid]; !ok {
		return fmt.Errorf("process %d has ended", pid)
	}
	for p, s := range stats {
		if descends(stats, p, pid) {
			f(s)
		}
	}
	return nil
}

// descends reports whether pid is root or below it.
func descends(stats map[int]procStat, pid, root int) bool {
	for range len(stats) + 1 { // processes come and go while they are read
		if pid == root {
			return true
		}
		s, ok := stats[pid]
		if !ok {
			return false
		}
		pid = s.parent
	}
	return false
}

func allStats() (map[int]procStat, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	stats := make(map[int]procStat, len(files))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		if stats[pid], err = parseStat(text); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return stats, nil
}

// parseStat reads one line of proc_pid_stat(5).
func parseStat(text []byte) (procStat, error) {
	// The name in brackets may hold anything, so count from its end.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	const ppid, utime, cstime, rss = 4 - 3, 14 - 3, 17 - 3, 24 - 3 // the first field here is number 3
	if len(fields) <= rss {
		return procStat{}, fmt.Errorf("only %d fields", len(fields))
	}
	parent, err := strconv.Atoi(string(fields[ppid]))
	if err != nil {
		return procStat{}, err
	}
	var ticks int64
	for _, f := range fields[utime : cstime+1] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return procStat{}, err
		}
		ticks += n
	}
	resident, err := strconv.ParseInt(string(fields[rss]), 10, 64)
	if err != nil {
		return procStat{}, err
	}
	return procStat{parent, time.Duration(ticks) * tick, resident}, nil
}
