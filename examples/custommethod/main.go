// Command custommethod shows a load-balancing method of one's own: the member
// with the lowest price takes the request, as long as it has room.
//
//	go run ./examples/custommethod
package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/modproxy/modproxy/balancer"
)

// Cheapest is a balancer.Method: one function that picks one of those that may
// be picked.
type Cheapest struct {
	Price map[string]int // by the member's name
	Room  int64          // requests that a member should have at a time
}

// Pick returns the cheapest member with room, or the cheapest of all.
func (c Cheapest) Pick(_ *http.Request, usable []*balancer.Member) *balancer.Member {
	best := usable[0]
	for _, m := range usable[1:] {
		full, bestFull := m.Busy() >= c.Room, best.Busy() >= c.Room
		if full == bestFull && c.Price[m.Name()] < c.Price[best.Name()] || bestFull && !full {
			best = m
		}
	}
	return best
}

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run sends requests through a balancer with the method, and takes the cheapest
// member away in the middle.
func run(out io.Writer) error {
	var members []balancer.MemberConfig
	for _, name := range []string{"cheap", "fair", "dear"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, name) }))
		defer s.Close()
		members = append(members, balancer.MemberConfig{Name: name, URL: s.URL})
	}
	b, err := balancer.New(balancer.Config{
		Name: "shop", Method: Cheapest{Price: map[string]int{"cheap": 1, "fair": 2, "dear": 9}, Room: 10},
	}, members...)
	if err != nil {
		return err
	}
	defer b.Close()
	client := &http.Client{Transport: b}
	for n := range 4 {
		if n == 2 {
			b.Member("cheap").SetFlags(balancer.Disabled, 0)
		}
		resp, err := client.Get("http://shop/")
		if err != nil {
			return err
		}
		_, err = io.Copy(out, resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
