package slot

import (
	"cmp"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
)

// The journal is trimmed to where nobody here needs it any more, and no further than
// those that follow it may have to come back to.
const (
	// trimReach is how far an operation may be behind a chunk of its body: a master gives
	// up one that would be further. So what no operation refers to yet is in the newest
	// trimReach octets.
	trimReach cluster.LSN = 256 << 20
	// trimWait is how long it is waited for a copy that does not follow any more, and
	// after an open for those that may have followed before: a machine that is started
	// again catches up from the journal. One that is away for longer is seeded.
	trimWait = time.Hour
	// trimMost bounds what is kept for others.
	trimMost cluster.LSN = 2 << 30
)

// trimming is what decides how far the journal is trimmed.
type trimming struct {
	reach   cluster.LSN
	wait    time.Duration
	now     time.Duration
	end     cluster.LSN
	settled cluster.LSN // see Status
	saved   cluster.LSN // of the newest snapshot: the index can be made again from there on
	others  []followed
}

// followed is a copy that follows the journal, or did.
type followed struct {
	at   cluster.LSN   // has everything below, as far as is known
	last time.Duration // when it was seen to
}

// to is where the journal may begin, 0 for no change.
func (t *trimming) to() cluster.LSN {
	to := min(t.settled, t.saved)
	to -= min(to, t.reach)
	for _, f := range t.others {
		if t.now-f.last < t.wait {
			to = min(to, max(f.at, t.end-min(t.end, trimMost)))
		}
	}
	return to
}

func (cfg *Config) reach() cluster.LSN { return cmp.Or(cfg.Hurry.Reach, trimReach) }

// trim gives up what the journal need not have. What others read of it just now is
// pinned or waits (journal.Trim).
func (m *mover) trim() error {
	t := trimming{
		reach: m.cfg.reach(), wait: cmp.Or(m.cfg.Hurry.Wait, trimWait), now: m.cfg.Clock(), end: m.journal.End().LSN,
		settled: cluster.LSN(m.settled.Load()), saved: m.saver.newest(), others: m.sessions.followed(),
	}
	low := m.journal.Low()
	to := t.to()
	if to <= low.LSN {
		return nil
	}
	if err := m.journal.Trim(to); err != nil {
		return err
	}
	if now := m.journal.Low(); now != low {
		m.post(replica.Trimmed{Low: now.LSN})
		m.log.Info("journal trimmed", "lsn", now.LSN)
	}
	return nil
}
