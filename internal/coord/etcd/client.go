// Package etcd is the coordinator on etcd: a client of any etcd cluster, and a
// member that runs in this process, so that nothing else need be installed. It
// is the only home of etcd's libraries.
//
// A member and its clients meet over its client port, also in one process: so an
// embedded and an external cluster are the same code, and a watch through a
// member that lost its quorum ends instead of falling silent.
//
// A member started here must not be able to take mail with it: what etcd calls
// fatal ends the member, not the process. Nor must it forget what it promised: a
// member that starts without data founds a cluster only together with others that
// have none (founding.go), and is otherwise replaced by a new one (admit.go).
package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

const (
	// callTimeout bounds every call whose context allows more.
	callTimeout = 5 * time.Second
	// readAttempt bounds one attempt of a read, so that a member which went
	// silent costs a second and not the call.
	readAttempt = time.Second
	// reasonTimeout bounds the question why a read failed, whose caller waits no more.
	reasonTimeout = 100 * time.Millisecond
	// dialKeepAlive finds a dead member behind a watch that is silent; gRPC allows
	// no less than 10 s, and etcd hangs up on who pings without a stream.
	// unackedTimeout is when a connection with requests under way is given up.
	dialKeepAlive  = 10 * time.Second
	unackedTimeout = 2 * time.Second
)

// reconnect is how often a member that does not answer is tried: gRPC's own first
// second makes a start wait for a member of the same process, which is up a moment
// later, and its two minutes a machine for members that were away.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
	MinConnectTimeout: callTimeout,
}

// Config says which cluster to talk to.
type Config struct {
	// Endpoints are URLs of members' client ports. A machine that runs a member
	// names only that one: it is the nearest, and it stands for its quorum.
	Endpoints []string
	// TLS is how members know this client and how it knows them; zero is plain.
	TLS Files
	Now func() time.Time
	Log *slog.Logger
}

// Client implements coord.Coord. Close it after its last use.
type Client struct {
	etcd *clientv3.Client
	now  func() time.Time
}

var _ coord.Coord = (*Client)(nil)

// Connect returns a client; it does not wait for the cluster to answer.
func Connect(cfg Config) (*Client, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("connect to etcd: no endpoints")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	config, err := cfg.TLS.client()
	if err != nil {
		return nil, fmt.Errorf("connect to etcd at %v: %w", cfg.Endpoints, err)
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		TLS:                  config,
		DialTimeout:          callTimeout,
		DialKeepAliveTime:    dialKeepAlive,
		DialKeepAliveTimeout: unackedTimeout,
		DialOptions:          []grpc.DialOption{grpc.WithConnectParams(reconnect)},
		Logger:               zapLogger(cfg.Log, quiet, nil),
	})
	if err != nil {
		return nil, fmt.Errorf("connect to etcd at %v: %w", cfg.Endpoints, err)
	}
	return &Client{etcd: c, now: cfg.Now}, nil
}

// Close ends the connections; leases of this client end with their TTL.
func (c *Client) Close() error { return c.etcd.Close() }

// read asks until somebody answers or the call's time is over.
func (c *Client) read(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for {
		attempt, stop := context.WithTimeout(ctx, readAttempt)
		resp, err := c.etcd.Get(attempt, key, opts...)
		stop()
		if err == nil {
			return resp, nil
		}
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			continue
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = cmp.Or(c.unconnected(key), err)
		}
		if status.Code(err) == codes.PermissionDenied {
			return nil, fmt.Errorf("read %s: %w: %w", key, coord.ErrRefused, err)
		}
		return nil, fmt.Errorf("read %s: %w: %w", key, coord.ErrUnavailable, err)
	}
}

// unconnected says why there is no connection to any member, such as that they
// refuse our certificate; nil if there is one. etcd's calls wait for a connection
// and say only that they have waited.
func (c *Client) unconnected(key string) error {
	ctx, cancel := context.WithTimeout(context.Background(), reasonTimeout)
	defer cancel()
	kv := etcdserverpb.NewKVClient(c.etcd.ActiveConnection()) // its calls do not wait
	_, err := kv.Range(ctx, &etcdserverpb.RangeRequest{Key: []byte(key), CountOnly: true, Serializable: true})
	if status.Code(err) != codes.Unavailable {
		return nil
	}
	return err
}

// Get implements coord.Coord.
func (c *Client) Get(ctx context.Context, key string) ([]byte, cluster.Rev, error) {
	resp, err := c.read(ctx, key)
	if err != nil || len(resp.Kvs) == 0 {
		return nil, 0, err
	}
	return resp.Kvs[0].Value, cluster.Rev(resp.Kvs[0].ModRevision), nil
}

// List implements coord.Coord.
func (c *Client) List(ctx context.Context, prefix string) ([]coord.KV, cluster.Rev, error) {
	resp, err := c.read(ctx, prefix, clientv3.WithPrefix(), clientv3.WithLimit(coord.MaxList))
	if err != nil {
		return nil, 0, err
	}
	if resp.More {
		return nil, 0, fmt.Errorf("list %s: %d keys: %w", prefix, resp.Count, coord.ErrTooMany)
	}
	out := make([]coord.KV, len(resp.Kvs))
	for i, kv := range resp.Kvs {
		out[i] = fromEtcd(kv)
	}
	return out, cluster.Rev(resp.Header.Revision), nil
}

func fromEtcd(kv *mvccpb.KeyValue) coord.KV {
	return coord.KV{Key: string(kv.Key), Value: kv.Value, Rev: cluster.Rev(kv.ModRevision)}
}

// Txn implements coord.Coord.
func (c *Client) Txn(ctx context.Context, t coord.Txn) (bool, cluster.Rev, error) {
	return c.txn(ctx, t, clientv3.NoLease)
}

func (c *Client) txn(ctx context.Context, t coord.Txn, lease clientv3.LeaseID) (bool, cluster.Rev, error) {
	if err := t.Check(); err != nil {
		return false, 0, err
	}
	if err := ctx.Err(); err != nil {
		return false, 0, fmt.Errorf("%w: %w", coord.ErrUnavailable, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	cmps := make([]clientv3.Cmp, len(t.If))
	for i, cmp := range t.If {
		cmps[i] = clientv3.Compare(clientv3.ModRevision(cmp.Key), "=", int64(cmp.Rev))
	}
	ops := make([]clientv3.Op, len(t.Then))
	for i, op := range t.Then {
		if op.Delete {
			ops[i] = clientv3.OpDelete(op.Key)
		} else {
			ops[i] = clientv3.OpPut(op.Key, string(op.Value), clientv3.WithLease(lease))
		}
	}
	resp, err := c.etcd.Txn(ctx).If(cmps...).Then(ops...).Commit()
	if err != nil {
		return false, 0, txnError(err)
	}
	return resp.Succeeded, cluster.Rev(resp.Header.Revision), nil
}

// txnError tells the few refusals that certainly changed nothing from all else,
// which is unknown.
func txnError(err error) error {
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return fmt.Errorf("transaction: %w: %w", coord.ErrLeaseLost, err)
	}
	var e rpctypes.EtcdError
	code := status.Code(err)
	if errors.As(err, &e) {
		code = e.Code()
	}
	switch code {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.ResourceExhausted:
		return fmt.Errorf("transaction: %w: %w", coord.ErrUnavailable, err)
	}
	return fmt.Errorf("transaction: %w: %w", coord.ErrUnknown, err)
}
