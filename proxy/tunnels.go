package proxy

import (
	"io"
	"time"
)

type Tunnels struct{}
type Tunnel struct {
	Client, Backend              io.ReadWriteCloser
	ClientData, BackendData      []byte
	IdleTimeout                  time.Duration
	Protocol, Target, ClientAddr string
}

func (t *Tunnels) Start(x Tunnel) error {
	x.Backend.Write(x.ClientData)
	go func() { io.Copy(x.Client, x.Backend); x.Client.Close(); x.Backend.Close() }()
	go func() { io.Copy(x.Backend, x.Client); x.Client.Close(); x.Backend.Close() }()
	return nil
}
