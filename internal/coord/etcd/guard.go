package etcd

import (
	"context"
	"crypto/x509"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// guard stands before each call and each message at a client port.
type guard struct {
	// refuse, if set, is asked again whether the certificate of the connection is still
	// welcome: etcd's library looks at it in the handshake only.
	refuse func(*x509.Certificate) error
	// stopping: gRPC's Stop ends the calls that there are, and then waits for those that
	// have come since. A client that watches again at once would hold it for ever.
	stopping *atomic.Bool
}

// options are for the servers of a client port.
func (g guard) options() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(g.unary), grpc.ChainStreamInterceptor(g.stream)}
}

func (g guard) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := g.check(ctx); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func (g guard) stream(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := g.check(s.Context()); err != nil {
		return err
	}
	return next(srv, guarded{s, g})
}

// check is for a call that came by TLS; the client port has no other.
func (g guard) check(ctx context.Context) error {
	if g.stopping.Load() {
		return status.Error(codes.Unavailable, "this member stops")
	}
	if g.refuse == nil {
		return nil
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return status.Error(codes.PermissionDenied, "who calls is not known")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return status.Error(codes.PermissionDenied, "who calls shows no certificate")
	}
	if err := g.refuse(info.State.PeerCertificates[0]); err != nil {
		return status.Error(codes.PermissionDenied, err.Error())
	}
	return nil
}

// guarded is a stream whose messages are looked at one by one.
type guarded struct {
	grpc.ServerStream
	guard guard
}

// SendMsg implements grpc.ServerStream.
func (s guarded) SendMsg(m any) error {
	if err := s.guard.check(s.Context()); err != nil {
		return err
	}
	return s.ServerStream.SendMsg(m)
}

// RecvMsg implements grpc.ServerStream.
func (s guarded) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return s.guard.check(s.Context())
}
