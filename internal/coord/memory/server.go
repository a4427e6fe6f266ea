// Package memory is the coordinator in memory: for tests and simulations, in
// which it is one server with many clients whose connections can be cut, slowed,
// and made to lose requests and answers, and which can be rewound.
//
// It is not replicated and not durable; it is never used by a real cluster.
//
// The semantics are those of coord.Coord, kept equal to etcd's by
// coordtest.Run. Given the same calls in the same order and the same clock, it
// does the same.
package memory

import (
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// Config has good zero values.
type Config struct {
	// Now and AfterFunc are the server's clock; nil means package time's.
	Now       func() time.Time
	AfterFunc func(d time.Duration, f func()) (stop func() bool)
	// History is the number of changes that a watch can go back; 0 means 10,000.
	History int
	// MinTTL is the shortest lease granted; 0 means 1 ms.
	MinTTL time.Duration
}

// Server holds the keys. Clients are made with Client.
type Server struct {
	cfg Config

	mu        sync.Mutex
	rev       cluster.Rev
	keys      map[string]entry
	compacted cluster.Rev // changes at or below are gone
	log       []coord.Change
	watchers  map[*watcher]struct{}
	leases    map[uint64]*grant
	nextLease uint64
}

type entry struct {
	value []byte
	rev   cluster.Rev
	lease uint64 // 0: none
}

// NewServer returns an empty coordinator at revision 1.
func NewServer(cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.AfterFunc == nil {
		cfg.AfterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	if cfg.History == 0 {
		cfg.History = 10_000
	}
	if cfg.MinTTL == 0 {
		cfg.MinTTL = time.Millisecond
	}
	return &Server{
		cfg: cfg, rev: 1,
		keys:     map[string]entry{},
		watchers: map[*watcher]struct{}{},
		leases:   map[uint64]*grant{},
	}
}

// Rev is the present revision.
func (s *Server) Rev() cluster.Rev {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rev
}

// Compact forgets the changes at or below rev.
func (s *Server) Compact(rev cluster.Rev) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.compactLocked(rev)
}

func (s *Server) compactLocked(rev cluster.Rev) {
	if rev <= s.compacted {
		return
	}
	s.compacted = rev
	i := sort.Search(len(s.log), func(i int) bool { return s.log[i].Rev > rev })
	s.log = slices.Clone(s.log[i:])
}

// Snapshot is a backup of the server.
type Snapshot struct {
	rev  cluster.Rev
	keys map[string]entry
}

// Snapshot takes a backup.
func (s *Server) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := Snapshot{rev: s.rev, keys: make(map[string]entry, len(s.keys))}
	for k, e := range s.keys {
		b.keys[k] = e
	}
	return b
}

// Restore makes the server what it was at the snapshot, as a careless operator
// would: revisions go back, every watch ends, every lease is gone with its keys.
func (s *Server) Restore(b Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rev, s.compacted, s.log = b.rev, b.rev, nil
	s.keys = make(map[string]entry, len(b.keys))
	for k, e := range b.keys {
		if e.lease == 0 {
			s.keys[k] = e
		}
	}
	for _, g := range s.leases {
		g.stop()
	}
	s.leases = map[uint64]*grant{}
	for w := range s.watchers {
		w.end(coord.ErrUnavailable)
		delete(s.watchers, w)
	}
}

func (s *Server) get(key string) ([]byte, cluster.Rev) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[key]
	return slices.Clone(e.value), e.rev
}

func (s *Server) list(prefix string) ([]coord.KV, cluster.Rev, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []coord.KV
	for k, e := range s.keys {
		if strings.HasPrefix(k, prefix) {
			out = append(out, coord.KV{Key: k, Value: slices.Clone(e.value), Rev: e.rev})
		}
	}
	if len(out) > coord.MaxList {
		return nil, 0, coord.ErrTooMany
	}
	slices.SortFunc(out, func(a, b coord.KV) int { return strings.Compare(a.Key, b.Key) })
	return out, s.rev, nil
}

func (s *Server) txn(t coord.Txn, lease uint64) (bool, cluster.Rev, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if lease != 0 && s.leases[lease] == nil {
		return false, 0, coord.ErrLeaseLost
	}
	for _, c := range t.If {
		if s.keys[c.Key].rev != c.Rev {
			return false, s.rev, nil
		}
	}
	return true, s.applyLocked(t.Then, lease), nil
}

// applyLocked changes the keys at one new revision, if anything changes.
func (s *Server) applyLocked(ops []coord.Op, lease uint64) cluster.Rev {
	next := s.rev + 1
	var batch []coord.Change
	for _, op := range ops {
		kv := coord.KV{Key: op.Key, Rev: next}
		if op.Delete {
			if _, there := s.keys[op.Key]; !there {
				continue
			}
			delete(s.keys, op.Key)
		} else {
			kv.Value = slices.Clone(op.Value)
			if kv.Value == nil {
				kv.Value = []byte{}
			}
			s.keys[op.Key] = entry{value: kv.Value, rev: next, lease: lease}
		}
		batch = append(batch, coord.Change{KV: kv, Deleted: op.Delete})
	}
	if len(batch) == 0 {
		return s.rev
	}
	s.rev = next
	s.log = append(s.log, batch...)
	if over := len(s.log) - s.cfg.History; over > 0 {
		s.compactLocked(s.log[over-1].Rev)
	}
	for w := range s.watchers {
		w.offer(batch)
	}
	return next
}
