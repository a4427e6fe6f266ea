package slot

import (
	"context"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// A proposal is an operation on its way into the journal, with the chunks that
// must stand directly before it. It is answered exactly once:
//
//	refused by the queue, or taken back from it   mail.ErrMoved, ErrBusy
//	the journal had no room, nothing was written  mail.ErrFull
//	appended, committed and applied               its outcome
//	appended, and who waits or answers has ended  mail.ErrUnknown
type proposal struct {
	records []journal.Record // chunks, then the operation last; nil op: chunks only
	size    int
	op      *operation.Operation // what the last record decodes to; nil for chunks only
	at      cluster.LSN          // of the last record, once appended
	under   cluster.Epoch        // the epoch it was appended under, or has to be; 0: any
	ahead   cluster.LSN          // of the first chunk that was placed before, 0 for none
	since   uint64               // the queue's tick when it was put there
	done    chan outcome         // buffer of one
}

type outcome struct {
	result state.Outcome
	err    error
}

func newProposal(under cluster.Epoch, records int) *proposal {
	return &proposal{under: under, records: make([]journal.Record, 0, records), done: make(chan outcome, 1)}
}

// finish answers the proposer; only the first answer counts.
func (p *proposal) finish(o outcome) {
	select {
	case p.done <- o:
	default:
	}
}

// await returns p's outcome. When ctx ends first, p is taken back if it still
// waits in q, and did not happen; otherwise its outcome is unknown.
func (p *proposal) await(ctx context.Context, q *queue) (state.Outcome, error) {
	select {
	case o := <-p.done:
		return o.result, o.err
	case <-ctx.Done():
	}
	if q.withdraw(p) {
		return state.Outcome{}, mail.ErrBusy
	}
	select {
	case o := <-p.done:
		return o.result, o.err
	default:
		return state.Outcome{}, mail.ErrUnknown
	}
}
