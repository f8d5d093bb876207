package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type text = wrapperspb.StringValue

// service is a gRPC service written by hand, so that no code needs to be
// generated. Its messages are strings.
type service struct {
	held chan error // why a held call ended
}

var serviceDesc = grpc.ServiceDesc{
	ServiceName: "test.Service",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Unary", Handler: unary}},
	Streams: []grpc.StreamDesc{
		{StreamName: "Words", Handler: words, ServerStreams: true},
		{StreamName: "Join", Handler: join, ClientStreams: true},
		{StreamName: "Echo", Handler: echo, ServerStreams: true, ClientStreams: true},
		{StreamName: "Break", Handler: breakOff, ServerStreams: true, ClientStreams: true},
		{StreamName: "Hold", Handler: hold, ServerStreams: true, ClientStreams: true},
	},
}

// unary echoes its message and metadata; "refuse" makes it fail before it has
// sent anything, so that the answer is nothing but trailers.
func unary(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	in := new(text)
	if err := decode(in); err != nil {
		return nil, err
	}
	if in.Value == "refuse" {
		return nil, detailed(codes.FailedPrecondition, "not on a Sunday: 100 %, naïvely")
	}
	md, _ := metadata.FromIncomingContext(ctx)
	_ = grpc.SetHeader(ctx, metadata.MD{"x-echo": md["x-sent"], "x-echo-bin": md["x-sent-bin"]})
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-last", "word"))
	return in, nil
}

// detailed is an error with a detail.
func detailed(code codes.Code, message string) error {
	s, err := status.New(code, message).WithDetails(&errdetails.ErrorInfo{Reason: "BECAUSE", Domain: "test"})
	if err != nil {
		return err
	}
	return s.Err()
}

// words sends the words of its message one by one.
func words(_ any, s grpc.ServerStream) error {
	in := new(text)
	if err := s.RecvMsg(in); err != nil {
		return err
	}
	for _, w := range strings.Fields(in.Value) {
		if err := s.SendMsg(wrapperspb.String(w)); err != nil {
			return err
		}
	}
	s.SetTrailer(metadata.Pairs("x-last", "word"))
	return nil
}

// join answers with all messages in one.
func join(_ any, s grpc.ServerStream) error {
	var all []string
	for {
		in := new(text)
		err := s.RecvMsg(in)
		if errors.Is(err, io.EOF) {
			return s.SendMsg(wrapperspb.String(strings.Join(all, " ")))
		}
		if err != nil {
			return err
		}
		all = append(all, in.Value)
	}
}

// echo answers each message before it reads the next.
func echo(_ any, s grpc.ServerStream) error {
	for {
		in := new(text)
		err := s.RecvMsg(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.SendMsg(in); err != nil {
			return err
		}
	}
}

// breakOff fails after the first message, while the client may still send.
func breakOff(_ any, s grpc.ServerStream) error {
	in := new(text)
	if err := s.RecvMsg(in); err != nil {
		return err
	}
	if err := s.SendMsg(in); err != nil {
		return err
	}
	return detailed(codes.ResourceExhausted, "enough")
}

// hold sends one message and waits for the end of the call.
func hold(srv any, s grpc.ServerStream) error {
	in := new(text)
	if err := s.RecvMsg(in); err != nil {
		return err
	}
	if err := s.SendMsg(in); err != nil {
		return err
	}
	<-s.Context().Done()
	srv.(*service).held <- s.Context().Err()
	return status.FromContextError(s.Context().Err()).Err()
}
