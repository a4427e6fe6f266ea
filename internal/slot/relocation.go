package slot

import (
	"context"
	"fmt"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// relocations are new places of bodies, of one pack: changes of this copy's index
// that are no operations. The applier writes those of bodies that something refers to
// still, and that are where from wants them.
type relocations struct {
	list []relocation
	from func(state.Location) bool

	done  chan struct{} // closed by the applier at the end
	moved int           // how many were written; then
}

type relocation struct {
	body mail.BodyID
	to   state.Location
}

// How relocations share the applier with operations: so many at a time, in a batch of
// their own, while no operation is there to be applied; and once when so many rounds
// of operations have gone before, so that they come to an end on a slot that never
// rests. A delivery that comes meanwhile waits for one portion: some 0.3 ms.
const (
	relocatePortion = 64
	relocateAfter   = 256
)

// relocate hands the applier relocations and returns when all are in the index, not
// yet durably. One caller at a time.
func (a *applier) relocate(ctx context.Context, r *relocations) error {
	r.done = make(chan struct{})
	select {
	case a.moves <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// aside lets relocations come to their turn between operations.
func (a *applier) aside() error {
	if a.moving == nil {
		select {
		case a.moving = <-a.moves:
		default:
			return nil
		}
	}
	if a.passed++; a.passed < relocateAfter {
		return nil
	}
	return a.portion()
}

// portion writes some of the relocations at hand.
func (a *applier) portion() (err error) {
	a.passed = 0
	r := a.moving
	n := min(len(r.list), relocatePortion)
	kv := a.index.Cold()
	for _, x := range r.list[:n] {
		moved, failed := state.Relocate(kv, x.body, r.from, x.to)
		if err = failed; err != nil {
			break
		}
		if moved {
			r.moved++
		}
	}
	pos := a.index.Applied()
	if err == nil && kv.Len() > 0 {
		err = kv.Commit(pos)
	}
	if failed := kv.Close(); err == nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("%w: note where bodies are, at %d: %w", errFailed, pos.LSN, err)
	}
	if r.list = r.list[n:]; len(r.list) == 0 {
		a.moving = nil
		close(r.done)
	}
	return nil
}
