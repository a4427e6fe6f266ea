package etcd

import (
	"sync"
	"time"
)

const (
	// spellGap without a repetition ends a spell; etcd's prober repeats itself every
	// 5 s.
	spellGap = 12 * time.Second
	// spellReport is between two lines of log about the same spell.
	spellReport = 10 * time.Minute
	// maxSpells bounds what is remembered; with more, all is forgotten, and told
	// again.
	maxSpells = 64
)

// spells keep what happens again and again from filling the log.
type spells struct {
	mu   sync.Mutex
	open map[string]spell
}

type spell struct {
	began, last time.Time
	told        time.Time // zero: not yet
}

// note says whether to tell now of what happens again: once it has gone on for
// patience, and then now and then.
func (s *spells) note(what string, now time.Time, patience time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil || len(s.open) >= maxSpells {
		s.open = map[string]spell{}
	}
	sp, ok := s.open[what]
	if !ok || now.Sub(sp.last) > spellGap {
		sp = spell{began: now}
	}
	sp.last = now
	tell := now.Sub(sp.began) >= patience && (sp.told.IsZero() || now.Sub(sp.told) >= spellReport)
	if tell {
		sp.told = now
	}
	s.open[what] = sp
	return tell
}
