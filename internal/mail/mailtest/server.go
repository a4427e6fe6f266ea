package mailtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// Config of a [Server]. The zero value is good.
type Config struct {
	Now  func() time.Time // nil: time.Now
	Rand io.Reader        // nil: crypto/rand
}

// Server is a store in memory, with any number of accounts.
type Server struct {
	builder  state.Builder
	stager   *state.Stager
	watchers state.Watchers
	marking  sync.Mutex // held while a mark of \Recent is read and raised

	mu      sync.RWMutex
	kv      *state.MapKV
	next    cluster.LSN
	chunks  map[cluster.LSN][]byte
	derived map[mail.EmailID]derivedData
}

// derivedData is the newest that was set for a content.
type derivedData struct {
	version uint32
	data    []byte
}

// maxDerived bounds what SetDerived keeps; past it all is forgotten.
const maxDerived = 100_000

// recordHeader stands for what a journal adds to a record.
const recordHeader = 7

// NewServer returns an empty store.
func NewServer(cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	return &Server{
		builder: state.Builder{
			Rand: &lockedReader{r: cfg.Rand}, Now: cfg.Now, Level: func() cluster.Level { return cluster.CurrentLevel },
			RecordSize: func(payload int) int { return recordHeader + payload },
		},
		stager:  state.NewStager(nil),
		kv:      state.NewMapKV(),
		next:    4096, // as if something had been before
		chunks:  map[cluster.LSN][]byte{},
		derived: map[mail.EmailID]derivedData{},
	}
}

// lockedReader lets goroutines share a source of randomness.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *lockedReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

// CreateAccount makes an account and returns it. mail.ErrExists.
func (s *Server) CreateAccount(id mail.AccountID, n state.NewAccount) (*Account, error) {
	p, err := s.builder.CreateAccount(mail.Actor{Command: "create"}, id, n)
	if err != nil {
		return nil, err
	}
	if _, err := s.commit(p); err != nil {
		return nil, err
	}
	return s.Account(id), nil
}

// Account returns an account, which need not exist yet.
func (s *Server) Account(id mail.AccountID) *Account { return &Account{server: s, id: id} }

// Builder proposes what Account.Do does not: see [Server.Commit].
func (s *Server) Builder() *state.Builder { return &s.builder }

// Commit makes a proposal of [Server.Builder] happen.
func (s *Server) Commit(p *state.Proposal) (state.Outcome, error) { return s.commit(p) }

// Stage takes in a message for Deliver.
func (s *Server) Stage(ctx context.Context, r io.Reader, limit int64) (mail.Body, error) {
	st, err := s.stager.Stage(ctx, r, limit)
	if err != nil {
		return nil, err
	}
	return st, nil
}

// Deliver delivers a message to its recipients; each has an outcome of its own.
func (s *Server) Deliver(ctx context.Context, d state.Delivery) ([]state.RecipientOutcome, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("deliver: %w", err)
	}
	if err := s.place(state.Ahead(d.Body)); err != nil {
		return nil, err
	}
	p, err := s.builder.Deliver(d)
	if err != nil {
		return nil, err
	}
	out, err := s.commit(p)
	return out.Recipients, err
}

// Digest is state.Digest of an account.
func (s *Server) Digest(id mail.AccountID) (state.Sum, error) {
	return state.Digest(s.snapshot(), id)
}

func (s *Server) snapshot() *state.MapKV {
	s.mu.Lock() // taking a snapshot is the writer's business
	defer s.mu.Unlock()
	return s.kv.Snapshot()
}

// place puts the chunks of large messages where proposals find them.
func (s *Server) place(bodies []*state.Staged) error {
	for _, b := range bodies {
		var placed []state.Placed
		for chunk, err := range b.Chunks() {
			if err != nil {
				return err
			}
			s.mu.Lock()
			placed = append(placed, state.Placed{LSN: s.put(chunk), Length: uint32(len(chunk))})
			s.mu.Unlock()
		}
		b.Place(placed)
	}
	return nil
}

func (s *Server) put(chunk []byte) cluster.LSN {
	at := s.next
	s.chunks[at] = chunk
	s.next += cluster.LSN(recordHeader + len(chunk))
	return at
}

// commit does what the journal and its applier do: the octets, not the operation
// in memory, are what is applied.
func (s *Server) commit(p *state.Proposal) (state.Outcome, error) {
	op, err := operation.Decode(p.Encoded)
	if err != nil {
		return state.Outcome{}, err
	}
	out, err := s.apply(p, op)
	if err != nil {
		return out, err
	}
	s.watchers.Notify(out.Changed)
	return out, out.Code.Err()
}

func (s *Server) apply(p *state.Proposal, op *operation.Operation) (state.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := state.Check(s.kv, op); err != nil {
		return state.Outcome{}, err
	}
	for _, c := range p.Chunks {
		s.put(c)
	}
	at := s.next
	s.next += cluster.LSN(recordHeader + len(p.Encoded))
	before := s.kv.Snapshot()
	out, err := state.Apply(s.kv, at, cluster.CurrentLevel, op)
	if err != nil {
		s.kv = before
	}
	return out, err
}
