package tunnel_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

// Graceful shutdown: the server waits for requests, a Registry for
// upgraded connections.
func ExampleRegistry() {
	app := httptest.NewServer(http.NotFoundHandler())
	defer app.Close()

	tunnels := &tunnel.Registry{}
	h, _ := proxy.NewHandler("/", app.URL)
	h.Upgrades, h.Tunnels = []string{"websocket"}, tunnels
	front := httptest.NewServer(h)

	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = front.Config.Shutdown(ctx)
	fmt.Println(tunnels.Shutdown(ctx), tunnels.Count())
	// Output: <nil> 0
}
