package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/embed"
)

// tendEvery is how often a member looks at its database.
const tendEvery = 30 * time.Second

// tryEvery is how many looks a full database is left alone after an attempt.
const tryEvery = 5

// Space is what a member's database takes, in octets. Beyond the quota etcd writes
// nothing more.
type Space struct{ File, Used, Quota int64 }

// relief is what a member does about its database.
type relief uint8

const (
	nothing relief = iota
	defragment
	disarm
)

// relief decides. etcd never makes its file smaller: what is compacted becomes room
// inside. And once a file has met the quota, writing waits for somebody to say that
// there is room again, which is so when a fifth is free. Used is of the latest write:
// when none is possible it is not to be relied on, and so it is tried, now and then.
func (s Space) relief(alarmed, try bool) relief {
	switch {
	case s.File > s.Quota/2 && s.Used < s.File/2:
		return defragment
	case alarmed && s.File <= s.Quota/5*4:
		return disarm
	case alarmed && try:
		return defragment
	}
	return nothing
}

// tend keeps the member's database below its quota until ctx ends.
func (m *Member) tend(ctx context.Context, e *embed.Etcd) {
	tick := time.NewTicker(cmp.Or(m.own.Tend, tendEvery))
	defer tick.Stop()
	for looks := 0; ; looks++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := m.relieve(ctx, e, looks%tryEvery == 0); err != nil && ctx.Err() == nil {
				m.log.Warn("coordinator's database was not made smaller; it is tried again", "err", err)
			}
		}
	}
}

// Space is that of the last look, zero before the first.
func (m *Member) Space() Space {
	if s := m.space.Load(); s != nil {
		return *s
	}
	return Space{}
}

func (m *Member) relieve(ctx context.Context, e *embed.Etcd, try bool) error {
	for {
		db := e.Server.Backend()
		s := Space{db.Size(), db.SizeInUse(), m.cfg.QuotaBackendBytes}
		m.space.Store(&s)
		alarm := m.alarm(e)
		switch s.relief(alarm != nil, try) {
		case defragment:
			m.log.Info("coordinator's database is made smaller", "size", s.File, "used", s.Used)
			if err := db.Defrag(); err != nil {
				return fmt.Errorf("defragment: %w", err)
			}
			if try = false; db.Size() >= s.File {
				return errors.New("defragment: it is as large as before")
			}
		case disarm:
			if _, err := e.Server.Alarm(ctx, alarm); err != nil {
				return fmt.Errorf("disarm: %w", err)
			}
			m.log.Info("coordinator's database has room again", "size", s.File, "used", s.Used)
			return nil
		default:
			return nil
		}
	}
}

// alarm ends this member's alarm for lack of room; nil if there is none.
func (m *Member) alarm(e *embed.Etcd) *etcdserverpb.AlarmRequest {
	for _, a := range e.Server.Alarms() {
		if a.Alarm == etcdserverpb.AlarmType_NOSPACE && a.MemberID == uint64(e.Server.MemberID()) {
			return &etcdserverpb.AlarmRequest{Action: etcdserverpb.AlarmRequest_DEACTIVATE, MemberID: a.MemberID, Alarm: a.Alarm}
		}
	}
	return nil
}

// Full reports whether a member has met its quota, so that nothing can be written.
func (c *Client) Full(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.etcd.AlarmList(ctx)
	if err != nil {
		return false, fmt.Errorf("list alarms: %w", err)
	}
	for _, a := range resp.Alarms {
		if a.Alarm == etcdserverpb.AlarmType_NOSPACE {
			return true, nil
		}
	}
	return false, nil
}
