package slot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// Every purgeEvery a serving master looks at some of its accounts and proposes to
// remove what is due: what was deleted longer ago than the retention time, and what has
// expired in accounts that nobody uses. The bounds keep it from being felt: an
// account's turn comes within hours, its end within a few looks more.
const (
	purgeEvery = time.Minute
	purgeLook  = 1000 // accounts
	purgeMost  = 60   // operations, of mail.MaxTouched messages each
)

// purger proposes what is to be removed.
type purger struct {
	*incarnation
	after mail.AccountID // where the last look ended
}

// run looks at each tick until ctx ends.
func (p *purger) run(ctx context.Context, ticks <-chan time.Time) {
	for {
		select {
		case <-ticks:
		case <-ctx.Done():
			return
		}
		if err := p.look(ctx); err != nil && ctx.Err() == nil {
			p.log.Info("what is due was not removed; it will be looked at again", "err", err)
		}
	}
}

// look purges the accounts of its turn that want it, as far as its bounds allow.
// Those it does not get to have their turn in the next.
func (p *purger) look(ctx context.Context) error {
	if p.serving.master() == 0 || p.fault.Load() != nil {
		return nil
	}
	due, last, err := p.due()
	if err != nil {
		return err
	}
	left := purgeMost
	for _, id := range due {
		done, err := p.purge(ctx, id, &left)
		switch {
		case errors.Is(err, mail.ErrMoved):
			return nil // the next master looks for itself
		case err == nil && !done:
			return nil // the next look goes on with it
		}
		p.after = id
		if err != nil {
			return fmt.Errorf("purge account %v: %w", id, err)
		}
	}
	p.after = last
	return nil
}

func (p *purger) due() (due []mail.AccountID, last mail.AccountID, err error) {
	snap, err := p.snapshot()
	if err != nil {
		return nil, last, err
	}
	defer snap.release()
	return state.Due(snap, p.after, purgeLook, mail.InstantOf(p.cfg.Now()), p.deletedBefore())
}

// purge goes on until nothing is left, or no operation is.
func (p *purger) purge(ctx context.Context, id mail.AccountID, left *int) (done bool, err error) {
	before := p.deletedBefore()
	for *left > 0 {
		*left--
		out, err := p.propose(ctx, nil, func(b *state.Builder) (*state.Proposal, error) {
			return b.Purge(mail.Actor{Command: "purge"}, id, state.Purge{Deleted: before, History: before})
		})
		if errors.Is(err, mail.ErrNoAccount) {
			return true, nil // others were faster
		}
		if err != nil || !out.Result.More {
			return err == nil, err
		}
	}
	return false, nil
}
