package slot

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"slices"
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
	closed bool
	last   replica.Session
	open   map[replica.Session]*session
	dialed map[cluster.SlotID]dialed
	// seen is how far others have followed; of no slot in particular, from the oldest
	// batch that there was at the open.
	seen map[cluster.SlotID]followed
	wg   sync.WaitGroup // of who entered
}

// dialed is a slot that this one keeps a connection to.
type dialed struct {
	machine cluster.Machine
	cancel  context.CancelFunc
}

func newSessions(inc *incarnation, post func(replica.Event)) *sessions {
	return &sessions{
		cfg: inc.cfg, log: inc.log, journal: inc.journal, recent: inc.recent, commit: &inc.commit, post: post,
		open: map[replica.Session]*session{}, dialed: map[cluster.SlotID]dialed{},
		seen: map[cluster.SlotID]followed{{}: {inc.journal.Low().LSN, inc.cfg.Clock()}},
	}
}

const (
	redialMin = 50 * time.Millisecond
	redialMax = time.Second
	dialTime  = 3 * time.Second
)

// enter begins something that shut waits for; false after shut.
func (s *sessions) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Add(1)
	return true
}

func (s *sessions) leave() { s.wg.Done() }

// shut lets nobody begin any more and waits until all have ended. Their context
// has ended already.
func (s *sessions) shut() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.wg.Wait()
}

// keep dials the slots of rec that are ours to dial, and keeps the connections
// until ctx ends or a later record no longer has the slot there.
func (s *sessions) keep(ctx context.Context, rec cluster.StoreRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, d := range s.dialed {
		if rec.MachineOf(id) != d.machine {
			d.cancel()
			delete(s.dialed, id)
		}
	}
	for _, ref := range rec.Slots {
		_, known := s.dialed[ref.Slot]
		if s.closed || known || bytes.Compare(s.cfg.Slot[:], ref.Slot[:]) >= 0 {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		s.dialed[ref.Slot] = dialed{ref.Machine, cancel}
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			defer cancel()
			s.dial(ctx, ref)
		}()
	}
}

func (s *sessions) dial(ctx context.Context, ref cluster.SlotRef) {
	pause := redialMin
	for ctx.Err() == nil {
		dialCtx, cancel := context.WithTimeout(ctx, dialTime)
		conn, err := s.cfg.Peers.Dial(dialCtx, ref.Machine, s.cfg.Store, s.cfg.Slot, ref.Slot)
		cancel()
		if err == nil {
			begun := s.cfg.Clock()
			err = s.run(ctx, ref.Slot, conn)
			if s.cfg.Clock()-begun > redialMax {
				pause = redialMin
			}
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
	se := newSession(s, peer, conn, cancel)
	s.mu.Lock()
	s.last++
	se.id = s.last
	s.open[se.id] = se
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	s.post(replica.SessionUp{Session: se.id, Peer: peer})
	done := make(chan struct{})
	go func() {
		defer close(done)
		cancel(se.write(ctx))
	}()
	cancel(se.read(ctx))
	_ = conn.Close() // the reason is in the context
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

// reaches lists the slots with which a session stands, each once.
func (s *sessions) reaches() []cluster.SlotID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []cluster.SlotID
	for _, se := range s.open {
		if !slices.Contains(list, se.peer) {
			list = append(list, se.peer)
		}
	}
	slices.SortFunc(list, func(a, b cluster.SlotID) int { return cmp.Compare(a.String(), b.String()) })
	return list
}

// needs is the lowest position that a stream has not sent yet.
func (s *sessions) needs() cluster.LSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	low := cluster.LSN(math.MaxUint64)
	for _, se := range s.open {
		low = min(low, se.needs())
	}
	return low
}

// follows notes that peer has everything below lsn.
func (s *sessions) follows(peer cluster.SlotID, lsn cluster.LSN) {
	now := s.cfg.Clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[peer] = followed{lsn, now}
}

// followed lists how far others have followed, and when; those that have a stream do now.
func (s *sessions) followed() []followed {
	now := s.cfg.Clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, se := range s.open {
		if f, ok := s.seen[se.peer]; ok && se.needs() != math.MaxUint64 {
			s.seen[se.peer] = followed{f.at, now}
		}
	}
	return slices.Collect(maps.Values(s.seen))
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
			s.follows(se.peer, e.From)
			se.startStream(e)
		}
	case replica.StreamAcked:
		if se := s.session(e.Session); se != nil {
			s.follows(se.peer, e.LSN)
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
	if !s.enter() {
		return
	}
	go func() {
		defer s.leave()
		answer := replica.Located{Session: e.Session, Stream: e.Stream}
		if at, err := s.journal.PositionAt(e.LSN); err == nil {
			answer.At, answer.Found = at, true
		}
		s.post(answer)
	}()
}
