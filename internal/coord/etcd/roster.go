package etcd

import (
	"context"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Peer is a member as the cluster lists it.
type Peer struct {
	ID uint64
	// Name is the machine's; "" until it has started.
	Name string
	// Client and Peer are the URLs of its ports.
	Client, Peer []string
	// Learner: it has no vote yet.
	Learner bool
}

// Members lists the cluster's members, as a quorum agrees on them now.
func (c *Client) Members(ctx context.Context) ([]Peer, error) {
	list, err := listMembers(ctx, c.etcd)
	if err != nil {
		return nil, err
	}
	return peersOf(list.Members), nil
}

func peersOf(members []*etcdserverpb.Member) []Peer {
	out := make([]Peer, len(members))
	for i, o := range members {
		out[i] = Peer{ID: o.ID, Name: o.Name, Client: o.ClientURLs, Peer: o.PeerURLs, Learner: o.IsLearner}
	}
	return out
}

// Remove takes the member that was started as name out of the cluster. It is no
// error if there is none.
func (c *Client) Remove(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	members, err := c.Members(ctx)
	if err != nil {
		return err
	}
	for _, o := range members {
		if o.Name != name {
			continue
		}
		if _, err := c.etcd.MemberRemove(ctx, o.ID); err != nil {
			return fmt.Errorf("remove member %s: %w", name, err)
		}
	}
	return nil
}

// Endpoints are the members that are asked.
func (c *Client) Endpoints() []string { return c.etcd.Endpoints() }

// SetEndpoints has other members asked from now on.
func (c *Client) SetEndpoints(urls []string) {
	if !slices.Equal(urls, c.etcd.Endpoints()) {
		c.etcd.SetEndpoints(urls...)
	}
}
