package slot

import (
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// spaceLevel is the worse of the levels of this slot's disks.
func (l *loop) spaceLevel() replica.Space {
	switch max(l.cfg.Disk.Space().Level(), l.cfg.spoolDisk().Space().Level()) {
	case disk.Refuse:
		return replica.Refusing
	case disk.Warn:
		return replica.Warn
	}
	return replica.Roomy
}

// roomFor refuses new octets with mail.ErrFull while this slot or one that must
// have them too is full. What removes or moves passes, and so does an operation
// that was done before: it gets its first answer and takes no room.
func (inc *incarnation) roomFor(op *operation.Operation) error {
	if !inc.full.Load() || !addsOctets(op) {
		return nil
	}
	snap, err := inc.snapshot()
	if err != nil {
		return err
	}
	defer snap.release()
	if seen, err := state.Seen(snap, op); seen || err != nil {
		return err
	}
	return mail.ErrFull
}

func addsOctets(op *operation.Operation) bool {
	switch op.Kind.(type) {
	case *operation.Operation_Append, *operation.Operation_Deliver, *operation.Operation_Copy:
		return true
	}
	return false
}
