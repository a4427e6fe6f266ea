package etcd

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
)

const (
	// askTimeout bounds one question to one peer.
	askTimeout = time.Second
	// maxAnswer bounds a peer's answer; a member's entry takes some 300 bytes.
	maxAnswer = 1 << 20
	// foundingGrace is how long a majority without data waits for the rest, which
	// may only be slow to boot and have data.
	foundingGrace = 3 * time.Second
)

// sight is what one peer showed when it was asked.
type sight int

const (
	unseen  sight = iota // no answer
	blank                // it has no data either, or founds the same cluster right now
	foreign              // it waits to found another cluster: the configurations differ
	running              // it is part of a cluster
)

// founding decides, for a member without data, whether the cluster is new.
//
// The rule: found only when every first member was seen without data while this
// process, without data too, was already alive; or, after a grace, a majority,
// while nobody has shown a cluster. So a single member whose disk is gone never
// founds, however the machines come up after a power loss: it would vote for a
// log that lacks what it once acknowledged. What a majority without data would
// lose, a majority has lost already.
type founding struct {
	id      types.ID          // of the cluster that these first members make
	members map[types.ID]bool // their IDs
	peers   map[string]string // name -> peer URL, of the others
	never   bool              // this member only joins: it was told so, or saw a cluster

	seen  map[string]bool // peers that were blank
	since time.Time       // a majority was blank; zero: not yet
}

func newFounding(cfg MemberConfig) (*founding, error) {
	urls, err := types.NewURLsMap(initialCluster(cfg))
	if err != nil {
		return nil, fmt.Errorf("first members: %w", err)
	}
	first, err := membership.NewClusterFromURLsMap(nil, cfg.Token, urls)
	if err != nil {
		return nil, fmt.Errorf("first members: %w", err)
	}
	f := &founding{
		id: first.ID(), members: map[types.ID]bool{}, seen: map[string]bool{},
		peers: maps.Clone(cfg.InitialCluster), never: cfg.Join,
	}
	for _, id := range first.MemberIDs() {
		f.members[id] = true
	}
	delete(f.peers, cfg.Name)
	return f, nil
}

// alone: there is nobody to ask, and nobody who could have anything.
func (f *founding) alone() bool { return len(f.peers) == 0 && !f.never }

// note takes one round of answers and says whether to found the cluster now.
func (f *founding) note(now time.Time, round map[string]answer) bool {
	exists := false
	for name, a := range round {
		exists = exists || a.sight == running
		if a.sight == blank {
			f.seen[name] = true
		}
	}
	switch have := len(f.seen) + 1; {
	case f.never:
		return false
	case len(f.seen) == len(f.peers):
		return true
	case exists:
		f.never = true
		return false
	case have <= (len(f.peers)+1)/2:
		return false
	}
	if f.since.IsZero() {
		f.since = now
	}
	return now.Sub(f.since) >= foundingGrace
}

// answer is one peer's.
type answer struct {
	sight   sight
	clients []string // client URLs of the cluster it is part of
	refusal error    // of an unseen one that is there: the two could not agree on TLS
}

// summary is for the log: who showed what.
func summary(round map[string]answer) string {
	words := map[sight]string{
		unseen: "silent", blank: "without data", foreign: "founding another cluster (configurations differ)", running: "in a cluster",
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(round)) {
		word := words[round[name].sight]
		if err := round[name].refusal; err != nil {
			word = "refused (" + err.Error() + ")"
		}
		out = append(out, name+" "+word)
	}
	return strings.Join(out, ", ")
}

// refusal returns what is wrong with either end's certificate, if that made err.
func refusal(err error) error {
	var here *tls.CertificateVerificationError
	var there *net.OpError
	switch {
	case errors.As(err, &here):
		return here
	case errors.As(err, &there) && there.Op == "remote error":
		return there
	}
	return nil
}

// asker asks peers on their peer ports: what a member knows by itself, with or
// without a quorum.
type asker struct {
	name string // of this member
	http *http.Client
}

func newAsker(name string, info transport.TLSInfo) (asker, error) {
	t, err := transport.NewTransport(info, askTimeout)
	if err != nil {
		return asker{}, err
	}
	t.DisableKeepAlives = true
	return asker{name, &http.Client{Transport: t, Timeout: askTimeout}}, nil
}

func (a asker) round(ctx context.Context, f *founding) map[string]answer {
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := make(map[string]answer, len(f.peers))
	for name, peer := range f.peers {
		wg.Go(func() {
			got := a.ask(ctx, f, peer)
			mu.Lock()
			defer mu.Unlock()
			out[name] = got
		})
	}
	wg.Wait()
	return out
}

func (a asker) ask(ctx context.Context, f *founding, peer string) answer {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, peer+membersPath, nil)
	if err != nil {
		return answer{}
	}
	// Who asks has no data: a lobby learns from it what it would have to ask for.
	req.Header.Set(lobbyHeader, f.id.String())
	req.Header.Set(nameHeader, a.name)
	resp, err := a.http.Do(req)
	if err != nil {
		return answer{refusal: refusal(err)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}
	}
	if v := resp.Header.Get(lobbyHeader); v != "" {
		if v == f.id.String() {
			return answer{sight: blank}
		}
		return answer{sight: foreign}
	}
	id, err := strconv.ParseUint(resp.Header.Get("X-Etcd-Cluster-ID"), 16, 64)
	var members []*membership.Member
	if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(body, &members) != nil || len(members) == 0 {
		return answer{}
	}
	return f.judge(types.ID(id), members)
}

// judge tells a cluster being founded, where no first member has started to serve
// and there are no other members, from one that may have decided something.
func (f *founding) judge(id types.ID, members []*membership.Member) answer {
	fresh := id == f.id && len(members) == len(f.members)
	var clients []string
	for _, m := range members {
		fresh = fresh && f.members[m.ID] && len(m.ClientURLs) == 0
		clients = append(clients, m.ClientURLs...)
	}
	if fresh {
		return answer{sight: blank}
	}
	return answer{sight: running, clients: clients}
}
