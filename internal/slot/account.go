package slot

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// Account returns the account as protocol servers see it. Whether it exists, and
// is served here, each call tells.
func (s *Slot) Account(id mail.AccountID) mail.Account { return &account{s, id} }

// account implements mail.Account on a slot.
type account struct {
	slot *Slot
	id   mail.AccountID
}

// View implements mail.Account.
func (a *account) View(ctx context.Context) (mail.View, error) {
	if err := a.slot.serving.awaitRead(ctx); err != nil {
		return nil, err
	}
	inc := a.slot.current()
	if inc == nil {
		return nil, mail.ErrMoved
	}
	snap, err := inc.snapshot()
	if err != nil {
		return nil, err
	}
	v, err := state.NewView(snap, a.id, inc.openContent(snap), snap.release)
	if err != nil {
		snap.release()
		return nil, err
	}
	return v, nil
}

// Stage implements mail.Account.
func (a *account) Stage(ctx context.Context, r io.Reader, limit int64) (mail.Body, error) {
	inc := a.slot.current()
	if inc == nil {
		return nil, mail.ErrMoved
	}
	return inc.stager.Stage(ctx, r, limit)
}

// Do implements mail.Account.
func (a *account) Do(ctx context.Context, req mail.Request) (mail.Result, error) {
	inc := a.slot.current()
	if inc == nil {
		return mail.Result{}, mail.ErrMoved
	}
	if op, ok := req.Op.(mail.Append); ok {
		if err := inc.placeAhead(ctx, bodiesOf(op)); err != nil {
			return mail.Result{}, err
		}
	}
	prop, err := inc.builder.Propose(a.id, req)
	if err != nil {
		return mail.Result{}, err
	}
	if err := inc.check(ctx, prop); err != nil {
		return mail.Result{}, err
	}
	out, err := inc.submit(ctx, prop)
	if err != nil {
		return mail.Result{}, err
	}
	return out.Result, out.Code.Err()
}

func bodiesOf(op mail.Append) []mail.Body {
	list := make([]mail.Body, 0, len(op.Messages))
	for _, m := range op.Messages {
		list = append(list, m.Body)
	}
	return list
}

// Watch implements mail.Account.
func (a *account) Watch(m mail.MailboxID) (<-chan struct{}, func()) { return a.slot.hub.watch(a.id, m) }

// Derived implements mail.Account.
func (a *account) Derived(e mail.EmailID, version uint32) ([]byte, bool) {
	inc := a.slot.current()
	if inc == nil {
		return nil, false
	}
	b, err := inc.index.Derived().Get(version, e[:])
	return b, err == nil && b != nil
}

// SetDerived implements mail.Account.
func (a *account) SetDerived(e mail.EmailID, version uint32, data []byte) {
	if inc := a.slot.current(); inc != nil {
		if err := inc.index.Derived().Set(version, e[:], data); err != nil {
			inc.log.Debug("derived data not kept", "err", err)
		}
	}
}

// check gives a refusal that can be seen beforehand, from a fresh picture only.
func (inc *incarnation) check(ctx context.Context, p *state.Proposal) error {
	if err := inc.serving.awaitRead(ctx); err != nil {
		return err
	}
	snap, err := inc.snapshot()
	if err != nil {
		return err
	}
	defer snap.release()
	return state.Check(snap, p.Op)
}

// submit brings a proposal into the journal and returns its outcome once it is
// committed and applied. mail.ErrMoved, ErrBusy: it did not happen.
func (inc *incarnation) submit(ctx context.Context, p *state.Proposal) (state.Outcome, error) {
	pr := &proposal{op: p.Op, done: make(chan outcome, 1)}
	level := cluster.Level(p.Op.Level)
	for _, c := range p.Chunks {
		pr.records = append(pr.records, journal.Record{Kind: journal.KindBodyChunk, Level: level, Payload: c})
	}
	pr.records = append(pr.records, journal.Record{Kind: journal.KindOperation, Level: level, Payload: p.Encoded})
	if err := inc.put(pr); err != nil {
		return state.Outcome{}, err
	}
	inc.counts.operations.Add(1)
	return pr.await(ctx)
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
// operation: one record at a time, so that a large message holds nobody up.
func (inc *incarnation) placeAhead(ctx context.Context, bodies []mail.Body) error {
	for _, st := range state.Ahead(bodies...) {
		var placed []state.Placed
		for chunk, err := range st.Chunks() {
			if err != nil {
				return err
			}
			pr := &proposal{
				records: []journal.Record{{Kind: journal.KindBodyChunk, Level: cluster.CurrentLevel, Payload: chunk}},
				done:    make(chan outcome, 1),
			}
			if err := inc.put(pr); err != nil {
				return err
			}
			if _, err := pr.await(ctx); err != nil {
				// Chunks without an operation are nothing: this did not happen.
				return errors.Join(mail.ErrBusy, err)
			}
			placed = append(placed, state.Placed{LSN: pr.at, Length: uint32(len(chunk))})
		}
		st.Place(placed)
	}
	return nil
}

// recordSize is how many octets of the journal a payload takes.
func recordSize(payload int) int { return journal.Record{}.Size() + payload }

// newBuilder makes operations under the level of this build.
func newBuilder(cfg *Config) *state.Builder {
	return &state.Builder{Rand: cfg.Rand, Now: cfg.Now, Level: cluster.CurrentLevel, RecordSize: recordSize}
}

// forkOperation is the first operation of a forced epoch.
func (inc *incarnation) forkOperation() (journal.Record, error) {
	p, err := inc.builder.Fork(mail.Actor{Command: "forced failover"})
	if err != nil {
		return journal.Record{}, fmt.Errorf("propose fork: %w", err)
	}
	return journal.Record{Kind: journal.KindFork, Level: cluster.CurrentLevel, Payload: p.Encoded}, nil
}
