package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// Level implements api.Backend.
func (b *backend) Level(ctx context.Context) (api.ClusterLevel, error) {
	p, err := b.look(ctx)
	if err != nil {
		return api.ClusterLevel{}, unavailable(err)
	}
	live, err := b.liveLevels(ctx)
	if err != nil {
		return api.ClusterLevel{}, unavailable(err)
	}
	l := api.ClusterLevel{Cluster: b.cfg.Cluster, Level: max(1, p.settings.Level), Machines: []api.MachineLevel{}}
	for i, rec := range p.machines {
		m := api.MachineLevel{Machine: rec.Machine, Level: live[rec.Machine]}
		if rec.Storage { // its agent must say so itself
			m.Level = 0
			if st, ok := p.agents[rec.Machine]; ok {
				m.Level = max(1, st.Level)
			}
		}
		l.Machines = append(l.Machines, m)
		if i == 0 || m.Level < l.Next {
			l.Next = m.Level
		}
	}
	l.Next = max(l.Next, l.Level)
	return l, nil
}

// liveLevels are the levels that machines registered with.
func (b *backend) liveLevels(ctx context.Context) (map[cluster.Machine]cluster.Level, error) {
	kvs, _, err := b.coord.List(ctx, coord.LivePrefix)
	if err != nil {
		return nil, err
	}
	levels := map[cluster.Machine]cluster.Level{}
	for _, kv := range kvs {
		if live, err := coord.Decode[coord.LiveRecord](kv); err == nil {
			levels[live.Machine] = max(1, live.Level)
		}
	}
	return levels, nil
}

// FinishUpgrade implements api.Backend: the level rises when every machine of the
// cluster supports it, and never falls.
func (b *backend) FinishUpgrade(ctx context.Context, req api.UpgradeRequest) (api.ClusterLevel, error) {
	begun := time.Now()
	l, err := b.Level(ctx)
	switch {
	case err != nil:
		return l, err
	case req.Level <= l.Level:
		return l, conflict("tandemail cluster show", "the cluster's level is %d already", l.Level)
	}
	var not []string
	for _, m := range l.Machines {
		switch {
		case m.Level == 0:
			not = append(not, string(m.Machine)+" does not answer")
		case m.Level < req.Level:
			not = append(not, fmt.Sprintf("%s supports %d", m.Machine, m.Level))
		}
	}
	if len(not) > 0 {
		return l, conflict("upgrade and start every machine first, or remove it", "level %d is not supported everywhere: %s", req.Level, strings.Join(not, ", "))
	}
	if err := b.changeSettings(ctx, func(s *coord.Settings) { s.Level = max(s.Level, req.Level) }); err != nil {
		return l, err
	}
	b.note(ctx, coord.HistoryEntry{
		At: begun, By: req.By, Kind: "upgrade", Took: time.Since(begun),
		Reason: fmt.Sprintf("level %d, before %d", req.Level, l.Level),
	})
	l.Level = req.Level
	return l, nil
}

// changeSettings changes the cluster's settings by compare-and-swap.
func (b *backend) changeSettings(ctx context.Context, change func(*coord.Settings)) error {
	for range maxAttempts {
		v, rev, err := b.coord.Get(ctx, coord.SettingsKey)
		if err != nil {
			return unavailable(err)
		}
		var s coord.Settings
		if rev != 0 {
			if s, err = coord.Decode[coord.Settings](coord.KV{Key: coord.SettingsKey, Value: v}); err != nil {
				return err
			}
		}
		change(&s)
		ok, _, err := b.coord.Txn(ctx, coord.Txn{
			If:   []coord.Compare{{Key: coord.SettingsKey, Rev: rev}},
			Then: []coord.Op{coord.Put(coord.SettingsKey, coord.Encode(s))},
		})
		if err != nil {
			return unavailable(err)
		}
		if ok {
			return nil
		}
	}
	return conflict("ask again", "the settings change all the time")
}
