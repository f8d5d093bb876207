package connect

import (
	"errors"
	"net"
	"net/http"
	"sync"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// limits counts the tunnels, in all and of each client.
type limits struct {
	all, each int // at most; 0 is no limit

	mu      sync.Mutex // guards the rest
	open    int
	clients map[string]int
}

// place is one tunnel among the limits.
type place struct {
	l      *limits
	client string
	once   sync.Once
}

var (
	errManyTunnels = errors.New("as many tunnels are open as may be")
	errManyOfOne   = errors.New("client has as many tunnels open as it may")
)

// take finds a place for a client, or says why there is none.
func (l *limits) take(remoteAddr string) (*place, error) {
	client, _, err := net.SplitHostPort(remoteAddr)
	if err != nil {
		client = remoteAddr
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all > 0 && l.open >= l.all {
		return nil, &exchange.Error{Op: exchange.OpAcquire, Status: http.StatusServiceUnavailable, Err: errManyTunnels}
	}
	if l.each > 0 && l.clients[client] >= l.each {
		return nil, &exchange.Error{Op: exchange.OpAcquire, Status: http.StatusTooManyRequests, Err: errManyOfOne}
	}
	if l.clients == nil {
		l.clients = make(map[string]int)
	}
	l.open++
	l.clients[client]++
	return &place{l: l, client: client}, nil
}

// free gives the place back, once.
func (p *place) free() {
	p.once.Do(func() {
		p.l.mu.Lock()
		defer p.l.mu.Unlock()
		p.l.open--
		if p.l.clients[p.client]--; p.l.clients[p.client] == 0 {
			delete(p.l.clients, p.client)
		}
	})
}
