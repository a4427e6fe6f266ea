package app

import (
	"context"
	"fmt"
	"net"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/remote"
	"github.com/tandemail/tandemail/internal/route"
	"github.com/tandemail/tandemail/internal/spool"
)

// buildAccounts makes what lets a session on one machine see an account whose master is
// on another: both ends.
func (m *machine) buildAccounts(g *group) error {
	if m.agent == nil {
		return nil
	}
	dir, err := spool.Open(vfs.Default, filepath.Join(m.cfg.Spool, "accounts"), maxSpool)
	if err != nil {
		return fmt.Errorf("prepare spool of other accounts: %w", err)
	}
	if m.shared, err = remote.NewServer(remote.ServerConfig{Slot: m.hostSlot, Log: m.log}); err != nil {
		return err
	}
	dial := func(ctx context.Context, r route.Route, meta []byte) (net.Conn, error) {
		return m.dialAccount(g.ctx, ctx, r, meta)
	}
	if m.accounts, err = remote.NewAccounts(remote.Config{Routes: m.routes, Dial: dial, Here: m.hostSlot, Spool: dir}); err != nil {
		return err
	}
	m.sources.Shared, m.sources.Accounts = m.shared.Stats, m.accounts.Stats
	return nil
}

// dialAccount opens a stream about an account to its master, which this machine may have
// become since the account was opened. serving is for the stream's life, ctx for the dial.
func (m *machine) dialAccount(serving, ctx context.Context, r route.Route, meta []byte) (net.Conn, error) {
	if r.Master == m.name {
		return m.shared.Pipe(serving, meta), nil
	}
	return m.pool.Open(ctx, r.Master, remote.Service, meta)
}
