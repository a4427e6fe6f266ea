// Package router is what the MTA delivers to: it takes mail by LMTP, finds out
// whose it is, and brings it to the masters of their stores, holding while a store
// changes its master. 250 for a recipient means that the message is durable on
// every in-sync copy of the recipient's store, and of every user's store that an
// alias leads to.
//
// It implements lmtpd.Backend. It keeps nothing: what an MTA was not answered for,
// the MTA still has; what it was answered for, a store has. Which replies an MTA
// has seen it tells the stores lazily (design: exactly once); of those that it
// will send again although a store has them, or may have them, it tells them too.
//
// Not here: the LMTP protocol (lmtpd), the way to a master (deliver), users and
// aliases (directory).
//
// Concurrency: a session is called by one goroutine at a time; its transaction
// asks all stores at once. Everything else is safe for concurrent use.
package router

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/deliver"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/lmtpd"
)

// Directory resolves recipients. *directory.Directory implements it.
type Directory interface {
	Resolve(ctx context.Context, address string) ([]directory.Recipient, error)
}

// Deliverer brings a delivery to the master. *deliver.Client implements it.
type Deliverer interface {
	// Deliver: after any error but mail.ErrBusy and mail.ErrFull something may
	// have happened.
	Deliver(ctx context.Context, q deliver.Request) ([]deliver.Result, error)
	Settle(ctx context.Context, s deliver.Settle) error
}

// Config of a Router. All but the last two are required.
type Config struct {
	Machine   cluster.Machine // for Received lines
	Directory Directory
	Deliver   Deliverer
	Now       func() time.Time
	Rand      io.Reader
	Log       *slog.Logger
	// Hold is the longest wait for a store's master; 8 s unless set. A message has a
	// second more for each MiB. It is below
	// the time after which an MTA gives a connection up.
	Hold time.Duration
	// LargeMemory is how many octets of messages that were too large for the
	// server's memory are under way at a time; 256 MiB unless set. Others wait for
	// them as they would for a master.
	LargeMemory int64
}

// Router is the backend of an LMTP server. Use New; Run settles what sessions leave.
type Router struct {
	cfg      Config
	settler  *settler
	large    *semaphore.Weighted
	sessions sessions
	counts   counters
}

// New builds a router.
func New(cfg Config) *Router {
	cfg.Hold = cmp.Or(cfg.Hold, 8*time.Second)
	cfg.LargeMemory = cmp.Or(cfg.LargeMemory, 256<<20)
	return &Router{
		cfg: cfg, settler: newSettler(cfg.Deliver, cfg.Log), large: semaphore.NewWeighted(cfg.LargeMemory),
		sessions: sessions{none: make(chan struct{}, 1)},
	}
}

// lastSessions is how long Run waits, after its end, for sessions to end: longer
// than an LMTP server gives its deliveries.
const lastSessions = 35 * time.Second

// Run tells stores what became of replies until ctx ends, and then until all
// sessions have ended, and a last time.
func (r *Router) Run(ctx context.Context) error {
	on, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var settling sync.WaitGroup
	settling.Go(func() { r.settler.run(on) })
	<-ctx.Done()
	r.sessions.wait(lastSessions)
	stop()
	settling.Wait()
	return ctx.Err()
}

// NewSession implements lmtpd.Backend.
func (r *Router) NewSession(_ context.Context, info lmtpd.ConnInfo) (lmtpd.Session, error) {
	r.sessions.add(1)
	return &session{router: r, remote: hostOf(info.Remote)}, nil
}

func hostOf(a net.Addr) string {
	if a == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// sessions counts those that have not logged out.
type sessions struct {
	mu   sync.Mutex
	open int
	none chan struct{} // buffer of one: there may be none
}

func (s *sessions) add(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open += n; s.open == 0 {
		select {
		case s.none <- struct{}{}:
		default:
		}
	}
}

func (s *sessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// wait returns when there is none, or after most.
func (s *sessions) wait(most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	for s.count() > 0 {
		select {
		case <-s.none:
		case <-timer.C:
			return
		}
	}
}
