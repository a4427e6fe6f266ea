package app

import (
	"context"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// Reseed implements api.Backend. The slot itself refuses if its store may need what it
// has; that it is refused here already tells why in plain words.
func (b *backend) Reseed(ctx context.Context, s cluster.Store, req api.ReseedRequest) error {
	rec, _, err := b.record(ctx, s)
	if err != nil {
		return err
	}
	for _, ref := range rec.Slots {
		switch {
		case ref.Machine != req.Machine:
			continue
		case ref.Slot == rec.Master:
			return conflict("tandemail store switchover "+string(s), "store %s is served by %s", s, req.Machine)
		case rec.IsInSync(ref.Slot) && !b.damaged(ctx, ref):
			return conflict("tandemail store digest "+string(s), "the copy of store %s on %s is in sync: it is as good as the master's", s, req.Machine)
		}
		if err := b.remote.Reseed(ctx, ref.Machine, s, ref.Slot); err != nil {
			return unavailable(err)
		}
		b.note(ctx, coord.HistoryEntry{At: time.Now(), By: "operator", Kind: "reseed", Store: s, Epoch: rec.Epoch, Machine: req.Machine, To: ref.Slot, Reason: req.Reason})
		return nil
	}
	return notFound("store %s has no copy on machine %s", s, req.Machine)
}

// damaged reports whether a slot says that it lacks octets.
func (b *backend) damaged(ctx context.Context, ref cluster.SlotRef) bool {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	st, err := b.remote.Status(ctx, ref.Machine)
	return err == nil && slices.ContainsFunc(st.Slots, func(s agent.SlotStatus) bool { return s.Slot == ref.Slot && len(s.Damaged) > 0 })
}
