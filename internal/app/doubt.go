package app

import (
	"context"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/coord"
)

// doubtEvery is between two looks whether a slot here contradicts the coordinator.
const doubtEvery = time.Second

// doubts reports whether a slot here may know more than the coordinator shows: then
// the directory may lack entries, too.
func (m *machine) doubts() bool {
	return m.agent != nil && (m.agent.Frozen() || m.agent.Opening())
}

// keepDoubting tells all machines when a slot here knows more than the coordinator
// shows: front ends that were restarted cannot know.
func (m *machine) keepDoubting(ctx context.Context) error {
	tick := time.NewTicker(doubtEvery)
	defer tick.Stop()
	told := false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		switch frozen := m.agent.Frozen(); {
		case !frozen:
			told = false
			continue
		case told && m.users.Stats().Incomplete: // not for what only this machine noticed
			continue
		}
		err := m.doubt(ctx, true)
		if told = err == nil; err != nil {
			m.log.Warn("the directory was not marked as incomplete", "err", err)
		}
	}
}

// doubt marks every shard of the directory as one that may lack entries, or says that
// none does. The first is done before an entry comes back, the second after the last:
// a user who is still missing must not be called unknown, for that bounces mail.
func (m *machine) doubt(ctx context.Context, on bool) error {
	var ops []coord.Op
	for _, key := range slices.Concat(coord.ShardPrefixes(coord.UsersPrefix), coord.ShardPrefixes(coord.AliasesPrefix)) {
		if on {
			ops = append(ops, coord.Put(key, []byte("true")))
		} else {
			ops = append(ops, coord.Delete(key))
		}
	}
	for part := range slices.Chunk(ops, coord.MaxOps) {
		if _, _, err := m.coord.Txn(ctx, coord.Txn{Then: part}); err != nil {
			return unavailable(err)
		}
	}
	return nil
}
