package slot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
)

var (
	// ErrRefused: this slot would not even begin a switchover.
	ErrRefused = errors.New("switchover refused")
	// ErrGivenUp: a switchover was begun and given up; this slot is master still.
	ErrGivenUp = errors.New("switchover given up")
)

// handover is one caller that waits for a switchover.
type handover struct {
	ask    replica.SwitchTo
	answer chan error // buffer of one
}

// end answers the caller. A nil handover has none.
func (h *handover) end(err error) {
	if h != nil {
		select {
		case h.answer <- err:
		default:
		}
	}
}

// errHandoverGivenUp is what a Serve during a handover means; the protocol's reason
// comes with it in the log.
var errHandoverGivenUp = fmt.Errorf("%w; the log says why", ErrGivenUp)

// handOver steps a caller's wish. A switchover that begins holds the writes; one
// that is refused is told.
func (l *loop) handOver(ctx context.Context, h *handover) error {
	l.told = ""
	before := l.core.State().Held
	if err := l.step(ctx, h.ask); err != nil {
		h.end(nil)
		return err
	}
	switch held := l.core.State().Held; {
	case l.serving.master() == 0:
		h.end(nil)
	case before == "" && held != "":
		l.handing = h
	default:
		h.end(fmt.Errorf("%w: %s", ErrRefused, l.told))
	}
	return nil
}

// SwitchTo asks this master to hand over to target within a time (0: the
// default), and returns when it is no longer the master. cluster.ErrNotMaster,
// ErrRefused: nothing was begun; ErrGivenUp: it goes on as master.
func (s *Slot) SwitchTo(ctx context.Context, target cluster.SlotID, within time.Duration) error {
	inc := s.current()
	if inc == nil || s.serving.master() == 0 {
		return cluster.ErrNotMaster
	}
	h := &handover{ask: replica.SwitchTo{Target: target, Within: within}, answer: make(chan error, 1)}
	select {
	case inc.handovers <- h:
	case <-inc.done:
		return cluster.ErrNotMaster
	case <-ctx.Done():
		return fmt.Errorf("ask for a switchover: %w", ctx.Err())
	}
	select {
	case err := <-h.answer:
		return err
	case <-inc.done: // this incarnation is over, and with it its mastership
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a switchover: %w", ctx.Err())
	}
}
