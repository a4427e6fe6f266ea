package link

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/pki"
)

// Dialer calls other machines' internal ports. Identity, Allowed, Address and Log
// are required.
type Dialer struct {
	Identity *pki.Identity
	Allowed  pki.Allowed
	// Address says where a machine's internal port is, "host:port".
	Address func(cluster.Machine) (string, error)
	// Dial makes the connection; nil means TCP.
	Dial    func(ctx context.Context, address string) (net.Conn, error)
	Log     *slog.Logger
	Timeout time.Duration // to connect, shake hands and open a stream; 10 seconds

	outgoing outgoing
}

// Raw opens a connection of its own to a service of the machine.
func (d *Dialer) Raw(ctx context.Context, m cluster.Machine, service string, meta []byte) (*Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout())
	defer cancel()
	t, peer, err := d.connect(ctx, m, alpnRaw)
	if err != nil {
		return nil, err
	}
	return open(ctx, t, peer, service, meta)
}

func (d *Dialer) timeout() time.Duration {
	return cmp.Or(d.Timeout, 10*time.Second)
}

func (d *Dialer) connect(ctx context.Context, m cluster.Machine, alpn string) (*tls.Conn, Peer, error) {
	fail := func(err error) (*tls.Conn, Peer, error) {
		return nil, Peer{}, fmt.Errorf("connect to machine %s: %w", m, err)
	}
	addr, err := d.Address(m)
	if err != nil {
		return fail(err)
	}
	dial := d.Dial
	if dial == nil {
		dial = dialTCP
	}
	tcp, err := dial(ctx, addr)
	if err != nil {
		return fail(err)
	}
	nc := &dialed{Conn: tcp, of: &d.outgoing}
	t := tls.Client(nc, d.Identity.Client(m, d.Allowed, alpn))
	if err := t.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return fail(err)
	}
	peer, err := peerOf(d.Identity, t.ConnectionState())
	if err != nil {
		_ = nc.Close()
		return fail(err)
	}
	d.outgoing.keep(nc, peer)
	if err := d.Allowed(peer.Machine, peer.Key); err != nil { // a Recheck during the handshake missed it
		_ = nc.Close()
		return fail(err)
	}
	return t, peer, nil
}

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}}
	return d.DialContext(ctx, "tcp", addr)
}

// open sends a stream's header over nc and waits for the answer, within ctx. It
// closes nc if it fails.
func open(ctx context.Context, nc net.Conn, peer Peer, service string, meta []byte) (_ *Stream, err error) {
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			_ = nc.Close()
			err = fmt.Errorf("open service %q of machine %s: %w", service, peer.Machine, err)
		}
	}()
	if err := checkHeader(service, meta); err != nil {
		return nil, err
	}
	if _, err := nc.Write(appendHeader(nil, service, meta)); err != nil {
		return nil, err
	}
	status, reason, err := readAnswer(nc)
	if err != nil {
		return nil, err
	}
	if status != statusOK {
		return nil, &RefusedError{Machine: peer.Machine, Service: service, Reason: reason}
	}
	return &Stream{Conn: nc, Peer: peer, Service: service, Meta: meta}, nil
}
