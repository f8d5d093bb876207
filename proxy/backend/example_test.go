package backend_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// echo is a server that sends each line back.
func echo() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					_, _ = c.Write([]byte(line))
				}
			}()
		}
	}()
	return l
}

func ExampleBackend_Get() {
	l := echo()
	defer l.Close()
	b, err := backend.Parse("http://" + l.Addr().String())
	if err != nil {
		panic(err)
	}
	defer b.Close()
	b.MaxConns = 10                    // max=10
	b.AcquireTimeout = 5 * time.Second // acquire=5000
	for range 2 {
		c, err := b.Get(context.Background())
		if err != nil {
			panic(err)
		}
		c.Arm(0)
		fmt.Fprintln(c.W, "hello")
		_ = c.W.Flush()
		line, err := c.R.ReadString('\n')
		fmt.Print(line)
		c.Release(err == nil)
	}
	s := b.Stats()
	fmt.Println("opened", s.Created, "and reused", s.Reused)
	// Output:
	// hello
	// hello
	// opened 1 and reused 1
}

func ExampleParse() {
	b, err := backend.Parse("unix:/run/app.sock|http://app.example/")
	if err != nil {
		panic(err)
	}
	defer b.Close()
	fmt.Println(b.Socket, b.URL.Host, b)
	// Output: /run/app.sock app.example unix:/run/app.sock|http://app.example
}
