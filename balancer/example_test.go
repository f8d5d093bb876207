package balancer_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/balancer/balancertest"
	"github.com/modproxy/modproxy/proxy"
)

// named is a backend that answers with its name.
func named(name string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
}

func ask(url string) string {
	resp, err := http.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}

// A reverse proxy in front of two backends, of which one gets twice as much.
func Example() {
	red, blue := named("red"), named("blue")
	defer red.Close()
	defer blue.Close()

	b, err := balancer.New(balancer.Config{Name: "app"},
		balancer.MemberConfig{URL: red.URL, LoadFactor: 2},
		balancer.MemberConfig{URL: blue.URL},
	)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	target, _ := url.Parse("balancer://app/")
	front := httptest.NewServer(&proxy.Handler{Prefix: "/", Target: target, Transport: b})
	defer front.Close()

	for range 6 {
		fmt.Print(ask(front.URL), " ")
	}
	http.DefaultClient.CloseIdleConnections()
	// Output: red blue red red blue red
}

// Cheapest is a method of your own: the member with the least of what is
// written in its name.
type Cheapest struct{}

func (Cheapest) Pick(_ *http.Request, usable []*balancer.Member) *balancer.Member {
	best := usable[0]
	for _, m := range usable {
		if m.Name() < best.Name() {
			best = m
		}
	}
	return best
}

func ExampleMethod() {
	err := balancertest.TestMethod(func() balancer.Method { return Cheapest{} }, balancertest.Claims{})
	fmt.Println("test kit:", err)

	b, err := balancer.New(balancer.Config{Method: Cheapest{}},
		balancer.MemberConfig{Name: "0.12 EUR", URL: "http://10.0.0.1"},
		balancer.MemberConfig{Name: "0.07 EUR", URL: "http://10.0.0.2"},
	)
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	r, _ := http.NewRequest(http.MethodGet, "balancer://app/", nil)
	m, _ := b.Choose(r)
	fmt.Println(m.Name())
	m.SetFlags(balancer.Draining, 0)
	m, _ = b.Choose(r)
	fmt.Println(m.Name())
	// Output:
	// test kit: <nil>
	// 0.07 EUR
	// 0.12 EUR
}
