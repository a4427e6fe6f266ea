package host

import (
	"context"
	"encoding/hex"
	"log/slog"
	"maps"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/imapd"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/pop3d"
	"github.com/tandemail/tandemail/internal/session"
)

// Host serves sessions. Any goroutine may call its methods.
type Host struct {
	cfg      Config
	piped    sync.WaitGroup
	sessions atomic.Int64
	counts   counters

	maildrops pop3d.Locks
	pictures  *imapd.Pictures
}

// New builds a host.
func New(cfg Config) (*Host, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Host{cfg: cfg, pictures: imapd.NewPictures()}, nil
}

// Handle is the [link.Handler] of [Service].
func (h *Host) Handle(ctx context.Context, st *link.Stream) {
	h.Serve(ctx, cluster.Store(st.Meta), st)
}

// Serve serves one session of a user of the store, which the peer of nc, a front
// end, opens. It takes over nc and returns when the session has ended. When ctx
// ends the front end is told to go elsewhere.
func (h *Host) Serve(ctx context.Context, store cluster.Store, nc net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := link.NewFrames(nc, Frames())
	c := &conn{
		host: h, store: store, frames: f, cancel: cancel, log: h.cfg.Log.With("store", string(store)),
	}
	defer c.release()
	defer func() {
		if p := recover(); p != nil {
			c.panicked(p)
		}
		if err := f.Close(); err != nil {
			c.log.Debug("session's stream did not close in order", "err", err)
		}
	}()
	h.counts.opened.Add(1)
	defer h.sessions.Add(-1)
	if h.sessions.Add(1) > int64(h.cfg.MaxSessions) {
		c.fail(ctx, 0, session.Busy, "too many sessions on this machine")
		return
	}
	if err := c.serve(ctx); err != nil {
		c.log.Debug("session ended", "err", err)
	}
}

// Pipe opens a stream to a session in this process, for a front end beside the
// slots. It ends like any other; Wait waits for all of them.
func (h *Host) Pipe(ctx context.Context, store cluster.Store) *link.Frames {
	ours, theirs := net.Pipe()
	h.piped.Go(func() { h.Serve(ctx, store, theirs) })
	return link.NewFrames(ours, Frames())
}

// Wait returns when the sessions begun with Pipe have ended.
func (h *Host) Wait() { h.piped.Wait() }

// panicked ends the session that p happened in.
func (c *conn) panicked(p any) {
	c.host.counts.panics.Add(1)
	c.log.Error("panic in a session", "err", p, "stack", string(debug.Stack()))
	c.fail(context.Background(), c.number, session.Broken, "internal error")
}

// sessionKey names a session in logs.
func sessionKey(o session.Open) slog.Attr {
	return slog.String("session", hex.EncodeToString(o.Session[:]))
}

// counters are cumulative.
type counters struct {
	opened, redeemed, commands, panics atomic.Int64
	refused                            [16]atomic.Int64 // by reason
	answered                           answered
}

// answered counts commands; there are a few dozen names.
type answered struct {
	mu sync.Mutex
	n  map[Answered]int64
}

func (a *answered) add(k Answered) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n == nil {
		a.n = map[Answered]int64{}
	}
	a.n[k]++
}

func (a *answered) counts() map[Answered]int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.n)
}

// Answered is a command's name, such as "UID FETCH", and OK, NO or BAD.
type Answered struct{ Name, Status string }

// Stats is a snapshot of a host's counters.
type Stats struct {
	Sessions int64 // open now
	Opened   int64 // streams so far
	Redeemed int64 // sessions continued from a token
	Commands int64
	Answered map[Answered]int64 // commands, but those of redeeming
	Panics   int64
	Failed   map[session.Reason]int64 // sessions ended, by reason
}

// Stats counts.
func (h *Host) Stats() Stats {
	s := Stats{
		Sessions: h.sessions.Load(), Opened: h.counts.opened.Load(), Redeemed: h.counts.redeemed.Load(),
		Commands: h.counts.commands.Load(), Answered: h.counts.answered.counts(), Panics: h.counts.panics.Load(),
		Failed: map[session.Reason]int64{},
	}
	for i := range h.counts.refused {
		if n := h.counts.refused[i].Load(); n > 0 {
			s.Failed[session.Reason(i)] = n
		}
	}
	return s
}
