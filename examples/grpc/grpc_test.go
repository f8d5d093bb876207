package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/modproxy/modproxy/proxy/backend"
)

// setup is a gRPC server, the proxy in front of it and a client of the proxy.
type setup struct {
	service *service
	server  *grpc.Server
	back    *backend.Backend
	client  *grpc.ClientConn
}

// certified returns the TLS sides of a server and its client.
func certified(t *testing.T) (server, client *tls.Config) {
	s := httptest.NewTLSServer(nil)
	s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, &tls.Config{RootCAs: roots, ServerName: "example.com"}
}

// pemFile writes a chain and its key as the flag -cert takes them.
func pemFile(t *testing.T, c tls.Certificate) string {
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	require.NoError(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	for _, b := range c.Certificate {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b})...)
	}
	file := filepath.Join(t.TempDir(), "cert.pem")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	return file
}

func start(t *testing.T, frontTLS, backTLS bool, options ...grpc.ServerOption) *setup {
	serverTLS, clientTLS := certified(t)
	to, clientCreds := "h2c", insecure.NewCredentials()
	if backTLS {
		to = "h2"
		options = append(options, grpc.Creds(credentials.NewTLS(serverTLS.Clone())))
	}
	s := &setup{service: &service{held: make(chan error, 1)}, server: grpc.NewServer(options...)}
	s.server.RegisterService(&serviceDesc, s.service)
	grpc_health_v1.RegisterHealthServer(s.server, health.NewServer())
	l := listen(t)
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(l) }()
	t.Cleanup(func() {
		s.server.Stop()
		if err := <-served; err != nil {
			require.ErrorIs(t, err, grpc.ErrServerStopped)
		}
	})

	var err error
	s.back, err = backend.Parse(to + "://" + l.Addr().String())
	require.NoError(t, err)
	s.back.TLS = clientTLS
	t.Cleanup(func() { _ = s.back.Close() })
	cert := ""
	if frontTLS {
		cert, clientCreds = pemFile(t, serverTLS.Certificates[0]), credentials.NewTLS(clientTLS)
	}
	fl, err := newListener("127.0.0.1:0", cert)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	quiet := slog.New(slog.DiscardHandler) // failures are what these tests are about
	go func() { stopped <- serve(ctx, fl, s.back, quiet) }()
	s.client, err = grpc.NewClient(fl.Addr().String(), grpc.WithTransportCredentials(clientCreds))
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = s.client.Close()
		stop()
		require.NoError(t, <-stopped)
	})
	return s
}

func listen(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

// everyWay runs a test over clear text and TLS on both sides of the proxy.
func everyWay(t *testing.T, test func(t *testing.T, ctx context.Context, s *setup)) {
	for _, frontTLS := range []bool{false, true} {
		for _, backTLS := range []bool{false, true} {
			t.Run(fmt.Sprintf("front TLS %t, backend TLS %t", frontTLS, backTLS), func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				test(t, ctx, start(t, frontTLS, backTLS))
			})
		}
	}
}

// unary calls Unary.
func (s *setup) unary(ctx context.Context, message string, opts ...grpc.CallOption) (string, error) {
	out := new(text)
	err := s.client.Invoke(ctx, "/test.Service/Unary", wrapperspb.String(message), out, opts...)
	return out.Value, err
}

// stream opens a stream of both directions; a method that has only one does
// not mind.
func (s *setup) stream(t *testing.T, ctx context.Context, method string) grpc.ClientStream {
	t.Helper()
	st, err := s.client.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Service/"+method)
	require.NoError(t, err)
	return st
}

func send(t *testing.T, st grpc.ClientStream, message string) {
	t.Helper()
	require.NoError(t, st.SendMsg(wrapperspb.String(message)))
}

func receive(t *testing.T, st grpc.ClientStream, want string) {
	t.Helper()
	got := new(text)
	require.NoError(t, st.RecvMsg(got))
	require.Equal(t, want, got.Value)
}

// failsWith checks the status of a call and the detail of its error.
func failsWith(t *testing.T, err error, code codes.Code, message string) {
	t.Helper()
	s := status.Convert(err)
	require.Equal(t, code, s.Code(), "%v", err)
	require.Equal(t, message, s.Message())
	require.Len(t, s.Details(), 1)
	require.Equal(t, "BECAUSE", s.Details()[0].(*errdetails.ErrorInfo).GetReason())
}

func TestUnary(t *testing.T) {
	everyWay(t, func(t *testing.T, ctx context.Context, s *setup) {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-sent", "a", "x-sent", "b", "x-sent-bin", "\x00\xff")
		for _, message := range []string{"", "hello", strings.Repeat("long ", 400_000)} {
			var header, trailer metadata.MD
			got, err := s.unary(ctx, message, grpc.Header(&header), grpc.Trailer(&trailer))
			require.NoError(t, err)
			require.Equal(t, message, got)
			require.Equal(t, []string{"a", "b"}, header["x-echo"])
			require.Equal(t, []string{"\x00\xff"}, header["x-echo-bin"])
			require.Equal(t, []string{"word"}, trailer["x-last"])
		}
		reply, err := grpc_health_v1.NewHealthClient(s.client).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		require.NoError(t, err)
		require.Equal(t, grpc_health_v1.HealthCheckResponse_SERVING, reply.Status)
		require.EqualValues(t, 1, s.back.Stats().Created, "all calls share a connection")
	})
}

func TestServerStreaming(t *testing.T) {
	everyWay(t, func(t *testing.T, ctx context.Context, s *setup) {
		st := s.stream(t, ctx, "Words")
		send(t, st, "one two three")
		require.NoError(t, st.CloseSend())
		for _, want := range []string{"one", "two", "three"} {
			receive(t, st, want)
		}
		require.ErrorIs(t, st.RecvMsg(new(text)), io.EOF)
		require.Equal(t, []string{"word"}, st.Trailer()["x-last"])
	})
}

func TestClientStreaming(t *testing.T) {
	everyWay(t, func(t *testing.T, ctx context.Context, s *setup) {
		st := s.stream(t, ctx, "Join")
		for _, word := range []string{"one", "two", "three"} {
			send(t, st, word)
		}
		require.NoError(t, st.CloseSend())
		receive(t, st, "one two three")
		require.ErrorIs(t, st.RecvMsg(new(text)), io.EOF)
	})
}

func TestBidirectionalStreaming(t *testing.T) {
	everyWay(t, func(t *testing.T, ctx context.Context, s *setup) {
		st := s.stream(t, ctx, "Echo")
		for i := range 50 {
			word := strings.Repeat("x", i*i*100)
			send(t, st, word)
			receive(t, st, word) // the answer comes while the stream is open
		}
		require.NoError(t, st.CloseSend())
		require.ErrorIs(t, st.RecvMsg(new(text)), io.EOF)
	})
}

// TestErrors: the status and its details are in the trailer.
func TestErrors(t *testing.T) {
	everyWay(t, func(t *testing.T, ctx context.Context, s *setup) {
		var header metadata.MD
		_, err := s.unary(ctx, "refuse", grpc.Header(&header))
		failsWith(t, err, codes.FailedPrecondition, "not on a Sunday: 100 %, naïvely")

		st := s.stream(t, ctx, "Break") // and never CloseSend
		send(t, st, "a")
		receive(t, st, "a")
		failsWith(t, st.RecvMsg(new(text)), codes.ResourceExhausted, "enough")

		err = s.stream(t, ctx, "None").RecvMsg(new(text))
		require.Equal(t, codes.Unimplemented, status.Code(err), "%v", err)
	})
}

func TestDeadline(t *testing.T) {
	everyWay(t, func(t *testing.T, ctx context.Context, s *setup) {
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		st := s.stream(t, short, "Hold")
		send(t, st, "a")
		receive(t, st, "a")
		err := st.RecvMsg(new(text))
		// Where the server's clock strikes first, it resets its stream, and of
		// a reset net/http's server makes one with INTERNAL_ERROR.
		require.Contains(t, []codes.Code{codes.DeadlineExceeded, codes.Internal}, status.Code(err), "%v", err)
		select {
		case <-s.service.held:
		case <-ctx.Done():
			t.Fatal("the call goes on behind the proxy")
		}
	})
}

func TestCancellation(t *testing.T) {
	everyWay(t, func(t *testing.T, ctx context.Context, s *setup) {
		one, cancel := context.WithCancel(ctx)
		defer cancel()
		st, other := s.stream(t, one, "Hold"), s.stream(t, ctx, "Echo")
		send(t, st, "a")
		receive(t, st, "a")
		cancel()
		require.Equal(t, codes.Canceled, status.Code(st.RecvMsg(new(text))))
		select {
		case err := <-s.service.held:
			require.ErrorIs(t, err, context.Canceled)
		case <-ctx.Done():
			t.Fatal("the call goes on behind the proxy")
		}
		send(t, other, "b")
		receive(t, other, "b") // other streams of the connection live on
	})
}

// TestManyCalls: a backend that takes few streams on a connection gets more
// connections.
func TestManyCalls(t *testing.T) {
	s := start(t, false, false, grpc.MaxConcurrentStreams(10))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var open []grpc.ClientStream
	for range 35 {
		st := s.stream(t, ctx, "Echo")
		send(t, st, "a")
		receive(t, st, "a")
		open = append(open, st)
	}
	require.GreaterOrEqual(t, s.back.Stats().Created, int64(4))
	var wg sync.WaitGroup
	for _, st := range open {
		wg.Go(func() {
			if err := st.CloseSend(); err != nil {
				t.Error(err)
			}
			if err := st.RecvMsg(new(text)); err != io.EOF {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestNoBackend: gRPC makes Unavailable, which clients may try again, of 503.
func TestNoBackend(t *testing.T) {
	s := start(t, false, false)
	s.server.Stop()
	_, err := s.unary(t.Context(), "a")
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
	require.ErrorContains(t, err, "503")
}

// TestBackendStops: calls under way end, and new ones go to a new connection.
func TestBackendStops(t *testing.T) {
	s := start(t, false, false)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	st := s.stream(t, ctx, "Echo")
	send(t, st, "a")
	receive(t, st, "a")
	stopped := make(chan struct{})
	go func() { s.server.GracefulStop(); close(stopped) }()
	send(t, st, "b")
	receive(t, st, "b") // GOAWAY does not end it
	require.NoError(t, st.CloseSend())
	require.ErrorIs(t, st.RecvMsg(new(text)), io.EOF)
	<-stopped
	require.Eventually(t, func() bool { return s.back.Stats().Open == 0 }, 10*time.Second, time.Millisecond)
}
