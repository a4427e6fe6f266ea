package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/host"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/mail"
)

// Service is the name of the link service.
const Service = "account"

// ServerConfig says what a Server does. Slot and Log are required; zero elsewhere means
// the value named.
type ServerConfig struct {
	// Slot finds the slot of a store on this machine.
	Slot func(cluster.Store) (host.Slot, error)
	Log  *slog.Logger

	MaxStreams int   // at a time; 4,096; more are refused for now
	MaxViews   int   // of all streams; 2,048
	MaxStaged  int64 // octets of messages on their way in, of all streams; 1 GiB
}

// Server is the master's end. Any goroutine may call its methods.
type Server struct {
	cfg    ServerConfig
	piped  sync.WaitGroup
	counts counters
}

// counters are cumulative, but for what is open now.
type counters struct {
	streams, views, staged atomic.Int64
	opened                 atomic.Int64
	panics                 atomic.Int64
	asked                  [len(outcomes)]atomic.Int64
}

// outcomes are what asks come to.
var outcomes = [...]string{"ok", "busy", "moved", "unknown", "refused", "error"}

// count notes what an ask came to.
func (c *counters) count(code code, err error) {
	i := 4
	switch {
	case err == nil:
		i = 0
	case code == codeOther:
		i = 5
	case code == codeOf(mail.ErrMoved):
		i = 2
	case code == codeOf(mail.ErrUnknown):
		i = 3
	case errors.Is(err, mail.ErrBusy):
		i = 1
	}
	c.asked[i].Add(1)
}

// ServerStats is a snapshot of a Server's counters.
type ServerStats struct {
	Streams int64 // open now
	Views   int64 // open now
	Staged  int64 // octets of messages on their way in
	Opened  int64 // streams so far
	Panics  int64
	Asked   map[string]int64 // questions that were answered, by outcome
}

// Stats counts.
func (s *Server) Stats() ServerStats {
	st := ServerStats{
		Streams: s.counts.streams.Load(), Views: s.counts.views.Load(), Staged: s.counts.staged.Load(),
		Opened: s.counts.opened.Load(), Panics: s.counts.panics.Load(), Asked: map[string]int64{},
	}
	for i, name := range outcomes {
		st.Asked[name] = s.counts.asked[i].Load()
	}
	return st
}

// NewServer builds a server.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Slot == nil || cfg.Log == nil {
		return nil, errors.New("account server: Slot and Log are required")
	}
	cfg.MaxStreams = cmp.Or(cfg.MaxStreams, 4_096)
	cfg.MaxViews = cmp.Or(cfg.MaxViews, maxAllViews)
	cfg.MaxStaged = cmp.Or(cfg.MaxStaged, maxAllStaged)
	return &Server{cfg: cfg}, nil
}

// Handle is the [link.Handler] of [Service].
func (s *Server) Handle(ctx context.Context, st *link.Stream) { s.Serve(ctx, st.Meta, st) }

// Pipe opens a stream to an account in this process, until ctx ends. Wait waits for all
// of them.
func (s *Server) Pipe(ctx context.Context, meta []byte) net.Conn {
	ours, theirs := net.Pipe()
	s.piped.Go(func() { s.Serve(ctx, meta, theirs) })
	return ours
}

// Wait returns when the conversations begun with Pipe have ended.
func (s *Server) Wait() { s.piped.Wait() }

// Serve holds one conversation, over nc, which it takes over. It returns when that has
// ended: the peer closes, breaks the protocol, or ctx ends.
func (s *Server) Serve(ctx context.Context, meta []byte, nc net.Conn) {
	f := link.NewFrames(nc, frames())
	s.counts.opened.Add(1)
	defer s.counts.streams.Add(-1)
	n := s.counts.streams.Add(1)
	c, err := s.enter(meta, n)
	if err != nil {
		s.refuse(f, c, err)
		return
	}
	err = c.serve(ctx, f)
	switch {
	case errors.Is(err, errProtocol):
		c.log.Error("caller broke the account protocol", "err", err)
		s.refuse(f, c, err)
		return
	case err != nil && !errors.Is(err, io.EOF):
		c.log.Debug("account stream ended", "err", err)
	}
	_ = f.Close() // the peer may have gone first
}

// refuse says why the conversation ends, as far as the peer still reads.
func (s *Server) refuse(f *link.Frames, c *conversation, err error) {
	end := refused{Code: codeOf(err), Text: err.Error()}
	if c.slot != nil {
		st := c.slot.Standing()
		end.Epoch = max(st.Epoch, st.Known)
	}
	if err := errors.Join(send(context.Background(), f, end), f.Close()); err != nil {
		s.cfg.Log.Debug("peer could not be told why its account stream ends", "err", err)
	}
}

// enter finds the account if this machine's slot may serve it. The conversation has at
// least a log, and the slot if there is one.
func (s *Server) enter(meta []byte, streams int64) (*conversation, error) {
	c := &conversation{srv: s, log: s.cfg.Log}
	h, err := decodeHello(meta)
	if err != nil {
		return c, err
	}
	c.log = c.log.With("store", string(h.Store))
	if streams > int64(s.cfg.MaxStreams) {
		return c, fmt.Errorf("%d streams: %w", streams, errNotNow)
	}
	if c.slot, err = s.cfg.Slot(h.Store); err != nil {
		return c, err
	}
	st := c.slot.Standing()
	switch {
	case !st.Serving:
		return c, fmt.Errorf("store %s is served by %q in epoch %d: %w", h.Store, st.Master, st.Known, cluster.ErrNotMaster)
	case st.Epoch < h.Epoch:
		return c, fmt.Errorf("store %s is served in epoch %d: %w", h.Store, st.Epoch, cluster.ErrBehind)
	}
	c.epoch = st.Epoch
	c.account = c.slot.Account(h.Account)
	return c, nil
}

// beat tells the peer now and then that this end is there.
func (c *conversation) beat(ctx context.Context) {
	t := time.NewTicker(heartbeat)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if send(ctx, c.f, alive{}) != nil {
			return // the reader sees why
		}
	}
}
