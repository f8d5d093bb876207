package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// report prints the medians of all rounds, and the least cost of any, which on
// a busy machine is nearer to the truth.
//
// bytes are those of one request: of large ones the cost of a GiB is printed.
func report(w io.Writer, cs []*contender, bytes int64) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "proxy\tCPU µs/request\tits/ours\tours/its\tleast\tours/its\trequests/s\tp99 ms\tCPU s/GiB\t")
	var ours, oursLeast time.Duration
	for _, c := range cs {
		if c.peer.name == modproxyPeer.name {
			ours, oursLeast = median(c.samples, cpuOf), least(c.samples)
		}
	}
	known := true
	for _, c := range cs {
		cpu, low := median(c.samples, cpuOf), least(c.samples)
		known = known && cpu > 0
		rate := median(c.samples, func(s sample) float64 { return s.rate })
		p99 := median(c.samples, func(s sample) time.Duration { return s.p99 })
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%.0f\t%.2f\t%s\t\n", c.peer.name,
			micros(cpu), quotient(cpu, ours), quotient(ours, cpu), micros(low), quotient(oursLeast, low), rate, float64(p99)/1e6, perGiB(cpu, bytes))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if !known {
		fmt.Fprintln(w, "CPU time is measured on Linux only, and too little of it is not seen.")
	}
	_, err := fmt.Fprintln(w)
	return err
}

// Figures that are zero are not known.

func quotient[T time.Duration | int64](a, b T) string {
	if a <= 0 || b <= 0 {
		return "-"
	}
	return strconv.FormatFloat(float64(a)/float64(b), 'f', 2, 64)
}

func perGiB(cpu time.Duration, bytes int64) string {
	if cpu == 0 || bytes < 1<<20 {
		return "-"
	}
	return strconv.FormatFloat(cpu.Seconds()/float64(bytes)*(1<<30), 'f', 3, 64)
}

func micros(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return strconv.FormatFloat(float64(d)/1e3, 'f', 1, 64)
}

func cpuOf(s sample) time.Duration { return s.cpu }

func least(samples []sample) time.Duration {
	low := samples[0].cpu
	for _, s := range samples {
		low = min(low, s.cpu)
	}
	return low
}

// median returns the middle value, or the lower of the middle two.
func median[T cmp.Ordered](samples []sample, of func(sample) T) T {
	values := make([]T, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}
