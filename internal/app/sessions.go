package app

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/host"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/proxy"
	"github.com/tandemail/tandemail/internal/route"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/spool"
)

// maxSpool bounds what is on its way in or out of each kind, in octets.
const maxSpool = 4 << 30

// buildHost makes what runs clients' sessions on the machine of their master.
func (m *machine) buildHost(*group) error {
	if m.agent == nil {
		return nil
	}
	dir, err := spool.Open(vfs.Default, filepath.Join(m.cfg.Spool, "sessions"), maxSpool)
	if err != nil {
		return fmt.Errorf("prepare spool of sessions: %w", err)
	}
	m.host, err = host.New(host.Config{Slot: m.hostSlot, Others: m.others, Spool: dir, Log: m.log})
	if err != nil {
		return err
	}
	m.sources.Host = m.host.Stats
	return nil
}

// hostSlot finds a slot here for the host.
func (m *machine) hostSlot(s cluster.Store) (host.Slot, error) {
	sl, err := m.agent.Slot(s)
	if err != nil {
		return nil, err
	}
	return standing{sl}, nil
}

// standing implements host.Slot.
type standing struct{ *slot.Slot }

// Standing implements host.Slot.
func (s standing) Standing() host.Standing {
	st := s.Status()
	return host.Standing{
		Serving: st.Serving, Epoch: st.Epoch, Known: st.Record.Epoch, Master: st.Record.MachineOf(st.Record.Master),
		Since: s.ServingFor(),
	}
}

func (m *machine) handleSession(ctx context.Context, s *link.Stream) { m.host.Handle(ctx, s) }

// dialSession opens a session's stream to the master, which may be this machine's
// own. serving is for the session's life, ctx for the dial.
func (m *machine) dialSession(serving, ctx context.Context, r route.Route) (proxy.Backend, error) {
	if r.Master == m.name && m.host != nil {
		return m.host.Pipe(serving, r.Store), nil
	}
	s, err := m.pool.Open(ctx, r.Master, host.Service, []byte(r.Store))
	if err != nil {
		return nil, err
	}
	return link.NewFrames(s, host.Frames()), nil
}
