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

// report prints the medians of all rounds, the first proxy's cost being the
// measure of the others'.
func report(w io.Writer, cs []*contender) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "proxy\tCPU µs/request\tits/ours\tours/its\trequests/s\tp99 ms\t")
	var ours time.Duration
	known := true
	for _, c := range cs {
		cpu := median(c.samples, func(s sample) time.Duration { return s.cpu })
		if c.peer.name == modproxyPeer.name {
			ours = cpu
		}
		known = known && cpu > 0
		rate := median(c.samples, func(s sample) float64 { return s.rate })
		p99 := median(c.samples, func(s sample) time.Duration { return s.p99 })
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.0f\t%.2f\t\n", c.peer.name,
			number(float64(cpu)/1e3, 1), quotient(cpu, ours), quotient(ours, cpu), rate, float64(p99)/1e6)
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

func quotient(a, b time.Duration) string {
	if a == 0 || b == 0 {
		return "-"
	}
	return number(float64(a)/float64(b), 2)
}

// number formats a figure; zero means that it is not known.
func number(f float64, decimals int) string {
	if f == 0 {
		return "-"
	}
	return strconv.FormatFloat(f, 'f', decimals, 64)
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
