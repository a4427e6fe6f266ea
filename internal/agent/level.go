package agent

import (
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// settings takes the cluster's level and its retention time from its settings.
func (a *Agent) settings(u coord.Update) {
	if u.Listed != "" && len(u.All) == 0 {
		a.retain(0) // no setting was ever changed
	}
	for _, kv := range u.All {
		a.setting(kv)
	}
	for _, c := range u.Changes {
		if !c.Deleted {
			a.setting(c.KV)
		}
	}
}

func (a *Agent) setting(kv coord.KV) {
	if kv.Key != coord.SettingsKey {
		return
	}
	s, err := coord.Decode[coord.Settings](kv)
	if err != nil {
		a.log.Error("unreadable settings", "err", err)
		return
	}
	if s.Level > a.cfg.Level {
		a.log.Error("the cluster's level is above what this release supports; slots stop where they need it", "err", cluster.ErrNewer)
	}
	a.retain(s.Retention)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.level = max(a.level, s.Level)
	for _, r := range a.slots {
		r.RaiseLevel(a.level)
	}
}

// retain tells the slots how long what was deleted is kept; 0 is the default. Before
// this is known they let nothing go.
func (a *Agent) retain(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.retention = coord.Settings{Retention: d}.Keep()
	for _, r := range a.slots {
		r.SetRetention(a.retention)
	}
}
