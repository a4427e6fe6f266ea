package slot

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// propose places the bodies that are too large to go along, builds the operation,
// and returns its outcome once it is committed and applied. The errors of mail
// tell what may have happened (proposal).
func (inc *incarnation) propose(ctx context.Context, bodies []mail.Body, build func(*state.Builder) (*state.Proposal, error)) (state.Outcome, error) {
	ahead := state.Ahead(bodies...)
	placed, err := inc.placeAhead(ctx, ahead)
	if err == nil {
		var p *state.Proposal
		if p, err = build(inc.builder); err == nil {
			var out state.Outcome
			if out, err = inc.submit(ctx, p, placed); err == nil {
				return out, out.Code.Err()
			}
		}
	}
	for _, st := range ahead {
		st.Place(nil) // what was placed may be cut off: the next attempt places again
	}
	return state.Outcome{}, err
}

// placedAhead says of chunks that were placed before their operation under which epoch,
// and where the first is. Zero: there are none.
type placedAhead struct {
	under cluster.Epoch
	first cluster.LSN
}

// submit brings a proposal into the journal, after what was placed before.
func (inc *incarnation) submit(ctx context.Context, p *state.Proposal, placed placedAhead) (state.Outcome, error) {
	pr, err := inc.enqueue(p, placed)
	if err != nil {
		return state.Outcome{}, err
	}
	return pr.await(ctx, inc.queue)
}

// enqueue hands a proposal to the loop. Its outcome need not be awaited.
func (inc *incarnation) enqueue(p *state.Proposal, placed placedAhead) (*proposal, error) {
	if err := inc.roomFor(p.Op); err != nil {
		return nil, err
	}
	level := cluster.Level(p.Op.Level)
	pr := newProposal(placed.under, len(p.Chunks)+1)
	pr.op, pr.ahead = p.Op, placed.first
	for _, c := range p.Chunks {
		pr.records = append(pr.records, journal.Record{Kind: journal.KindBodyChunk, Level: level, Payload: c})
	}
	pr.records = append(pr.records, journal.Record{Kind: journal.KindOperation, Level: level, Payload: p.Encoded})
	if err := inc.put(pr); err != nil {
		return nil, err
	}
	inc.counts.operations.Add(1)
	return pr, nil
}

func (inc *incarnation) put(pr *proposal) error {
	for _, r := range pr.records {
		pr.size += r.Size()
	}
	if pr.size > journal.RoomFor() {
		return mail.ErrLimit
	}
	return inc.queue.put(pr)
}

// placeAhead brings the chunks of large bodies into the journal before their
// operation, one record at a time, so that a large message holds nobody up. Their
// operation has to follow under the same epoch.
func (inc *incarnation) placeAhead(ctx context.Context, bodies []*state.Staged) (all placedAhead, err error) {
	if len(bodies) > 0 && inc.full.Load() {
		return all, mail.ErrFull // a repeated one too: its octets come before its id is known
	}
	for _, st := range bodies {
		var placed []state.Placed
		for chunk, err := range st.Chunks() {
			if err != nil {
				return all, err
			}
			pr := newProposal(all.under, 1)
			pr.records = append(pr.records, journal.Record{Kind: journal.KindBodyChunk, Level: inc.clusterLevel(), Payload: chunk})
			if err := inc.put(pr); err != nil {
				return all, err
			}
			if _, err := pr.await(ctx, inc.queue); err != nil {
				// Chunks without an operation are nothing: this did not happen.
				return all, fmt.Errorf("place body: %w", didNotHappen(err))
			}
			if all.under = pr.under; all.first == 0 {
				all.first = pr.at
			}
			placed = append(placed, state.Placed{LSN: pr.at, Length: uint32(len(chunk))})
		}
		st.Place(placed)
	}
	return all, nil
}

func didNotHappen(err error) error {
	if errors.Is(err, mail.ErrUnknown) {
		return mail.ErrBusy
	}
	return err
}

// recordSize is how many octets of the journal a payload takes.
func recordSize(payload int) int { return journal.Record{}.Size() + payload }

// newBuilder makes operations under the cluster's level.
func (s *Slot) newBuilder() *state.Builder {
	return &state.Builder{Rand: s.cfg.Rand, Now: s.cfg.Now, Level: s.clusterLevel, RecordSize: recordSize}
}

// forkOperation is the first operation of a forced epoch, the count-th of its store.
func (inc *incarnation) forkOperation(count int) (journal.Record, error) {
	p, err := inc.builder.Fork(mail.Actor{Command: "forced failover"}, uint64(count))
	if err != nil {
		return journal.Record{}, fmt.Errorf("propose fork: %w", err)
	}
	return journal.Record{Kind: journal.KindFork, Level: cluster.Level(p.Op.Level), Payload: p.Encoded}, nil
}
