package slot

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/replica"
)

// sessions are the replication sessions of one incarnation. The slot with the
// lower id dials, whoever is master, so that there is one connection a pair and
// a change of master needs no new one.
type sessions struct {
	cfg     *Config
	log     *slog.Logger
	journal *journal.Journal
	recent  *recent
	commit  *atomic.Uint64
	post    func(replica.Event)

	mu     sync.Mutex
	last   replica.Session
	open   map[replica.Session]*session
	dialed map[cluster.SlotID]bool
	wg     sync.WaitGroup
}

func newSessions(inc *incarnation, post func(replica.Event)) *sessions {
	return &sessions{
		cfg: inc.cfg, log: inc.log, journal: inc.journal, recent: inc.recent, commit: &inc.commit, post: post,
		open: map[replica.Session]*session{}, dialed: map[cluster.SlotID]bool{},
	}
}

const (
	redialMin = 50 * time.Millisecond
	redialMax = time.Second
	dialTime  = 3 * time.Second
)

// keep dials the other slots of rec that are ours to dial, once each, and keeps
// the connections until ctx ends.
func (s *sessions) keep(ctx context.Context, rec cluster.StoreRecord) {
	for _, ref := range rec.Slots {
		if bytes.Compare(s.cfg.Slot[:], ref.Slot[:]) >= 0 {
			continue
		}
		s.mu.Lock()
		dialed := s.dialed[ref.Slot]
		s.dialed[ref.Slot] = true
		s.mu.Unlock()
		if !dialed {
			s.wg.Add(1)
			go func() {
				defer s.wg.Done()
				s.dial(ctx, ref)
			}()
		}
	}
}

func (s *sessions) dial(ctx context.Context, ref cluster.SlotRef) {
	pause := redialMin
	for ctx.Err() == nil {
		dialCtx, cancel := context.WithTimeout(ctx, dialTime)
		conn, err := s.cfg.Peers.Dial(dialCtx, ref.Machine, s.cfg.Store, s.cfg.Slot, ref.Slot)
		cancel()
		if err == nil {
			pause = redialMin
			err = s.run(ctx, ref.Slot, conn)
		}
		s.log.Debug("no replication session", "machine", ref.Machine, "err", err)
		select {
		case <-time.After(pause + rand.N(pause/4)): // spreads redials; no decision depends on it
		case <-ctx.Done():
		}
		pause = min(2*pause, redialMax)
	}
}

// run serves one connection with peer until it ends, and says why.
func (s *sessions) run(ctx context.Context, peer cluster.SlotID, conn net.Conn) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	se := &session{
		sessions: s, conn: conn, peer: peer, cancel: cancel, wake: make(chan struct{}, 1),
		out: bufio.NewWriterSize(conn, writeBuffer),
	}
	s.mu.Lock()
	s.last++
	se.id = s.last
	s.open[se.id] = se
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	s.post(replica.SessionUp{Session: se.id, Peer: peer})
	done := make(chan struct{})
	go func() {
		defer close(done)
		cancel(se.write(ctx))
	}()
	cancel(se.read(ctx))
	conn.Close()
	<-done
	s.mu.Lock()
	delete(s.open, se.id)
	s.mu.Unlock()
	s.post(replica.SessionDown{Session: se.id})
	return context.Cause(ctx)
}

func (s *sessions) session(id replica.Session) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[id]
}

// do carries out an effect that concerns one session. One that is gone needs nothing.
func (s *sessions) do(e replica.Effect) {
	switch e := e.(type) {
	case replica.Send:
		if se := s.session(e.Session); se != nil {
			se.send(e.Frame)
		}
	case replica.CloseSession:
		if se := s.session(e.Session); se != nil {
			se.close(e.Reason)
		}
	case replica.Locate:
		s.locate(e)
	case replica.StartStream:
		if se := s.session(e.Session); se != nil {
			se.startStream(e)
		}
	case replica.StreamAcked:
		if se := s.session(e.Session); se != nil {
			se.acked(e.LSN)
		}
	case replica.StopStream:
		if se := s.session(e.Session); se != nil {
			se.stopStream()
		}
	}
}

// locate looks a position up beside the loop: an old one is read from disk.
func (s *sessions) locate(e replica.Locate) {
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		answer := replica.Located{Session: e.Session, Stream: e.Stream}
		chain, err := s.journal.ChainAt(e.LSN)
		if err == nil {
			answer.At = cluster.Position{LSN: e.LSN, Chain: chain, Epoch: s.epochAt(e.LSN)}
			answer.Found = true
		}
		s.post(answer)
	}()
}

// epochAt returns the epoch of the batch that ends at lsn, 0 at the very beginning.
func (s *sessions) epochAt(lsn cluster.LSN) cluster.Epoch {
	var e cluster.Epoch
	for _, start := range s.journal.Epochs() {
		if start.LSN < lsn {
			e = start.Epoch
		}
	}
	return e
}

// errClosed is why a session ended that the protocol closed.
type closedError string

func (e closedError) Error() string { return fmt.Sprintf("session closed: %s", string(e)) }
