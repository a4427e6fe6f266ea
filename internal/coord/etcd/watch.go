package etcd

import (
	"context"
	"fmt"
	"iter"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// Watch implements coord.Coord.
func (c *Client) Watch(ctx context.Context, prefix string, after cluster.Rev) iter.Seq2[[]coord.Change, error] {
	return func(yield func([]coord.Change, error) bool) {
		fail := func(err error) { yield(nil, fmt.Errorf("watch %s after %d: %w", prefix, after, err)) }
		// etcd takes a revision of the future for a wish to wait; to us it means
		// that the coordinator went back.
		now, err := c.read(ctx, prefix, clientv3.WithCountOnly())
		if err != nil {
			fail(err)
			return
		}
		if cluster.Rev(now.Header.Revision) < after {
			fail(coord.ErrRewound)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream := c.etcd.Watch(clientv3.WithRequireLeader(ctx), prefix, clientv3.WithPrefix(), clientv3.WithRev(int64(after)+1))
		for resp := range stream {
			if err := watchError(ctx, resp); err != nil {
				fail(err)
				return
			}
			if batch := changes(resp.Events); len(batch) > 0 && !yield(batch, nil) {
				return
			}
		}
		if ctx.Err() != nil {
			fail(ctx.Err())
			return
		}
		fail(coord.ErrUnavailable)
	}
}

func watchError(ctx context.Context, resp clientv3.WatchResponse) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case resp.CompactRevision != 0:
		return coord.ErrCompacted
	case resp.Err() != nil:
		return fmt.Errorf("%w: %w", coord.ErrUnavailable, resp.Err())
	}
	return nil
}

func changes(events []*clientv3.Event) []coord.Change {
	out := make([]coord.Change, len(events))
	for i, ev := range events {
		out[i] = coord.Change{KV: fromEtcd(ev.Kv), Deleted: ev.Type == clientv3.EventTypeDelete}
	}
	return out
}
