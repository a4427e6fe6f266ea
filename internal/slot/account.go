package slot

import (
	"context"
	"io"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// Account returns the account as protocol servers see it. Whether it exists, and
// is served here, each call tells.
func (s *Slot) Account(id mail.AccountID) mail.Account { return &account{slot: s, id: id} }

// account implements mail.Account on a slot.
type account struct {
	slot *Slot
	id   mail.AccountID
	user mail.AccountID // who asks; zero: the owner
}

// As implements mail.Account.
func (a *account) As(user mail.AccountID) mail.Account {
	return &account{slot: a.slot, id: a.id, user: user}
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
	return &accountView{v.As(a.user), a.id, &inc.recents}, nil
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
	var bodies []mail.Body
	if op, ok := req.Op.(mail.Append); ok {
		bodies = bodiesOf(op)
	}
	out, err := inc.propose(ctx, bodies, func(b *state.Builder) (*state.Proposal, error) {
		p, err := b.ProposeAs(a.id, a.user, req)
		if err == nil {
			err = inc.check(ctx, p)
		}
		return p, err
	})
	return out.Result, err
}

func bodiesOf(op mail.Append) []mail.Body {
	list := make([]mail.Body, 0, len(op.Messages))
	for _, m := range op.Messages {
		list = append(list, m.Body)
	}
	return list
}

// Watch implements mail.Account.
func (a *account) Watch(m mail.MailboxID) (<-chan struct{}, func()) {
	return a.slot.watchers.Watch(a.id, m)
}

// SetRecent implements mail.Account.
func (a *account) SetRecent(m mail.MailboxID, user string, upTo mail.UID) mail.UID {
	inc := a.slot.current()
	if inc == nil {
		return 0
	}
	before := inc.recents.Raise(state.RecentKey{Account: a.id, Mailbox: m, User: user}, upTo)
	if upTo <= before {
		return before
	}
	p, err := inc.builder.Recent(a.id, m, user, upTo)
	if err == nil {
		_, err = inc.enqueue(p, placedAhead{}) // nobody waits for its outcome
	}
	if err != nil {
		inc.log.Debug("recent mark not kept", "err", err)
	}
	return before
}

// Derived implements mail.Account.
func (a *account) Derived(version uint32, contents ...mail.EmailID) [][]byte {
	inc := a.slot.current()
	if inc == nil {
		return make([][]byte, len(contents))
	}
	keys := make([][]byte, len(contents))
	for i := range contents {
		keys[i] = contents[i][:]
	}
	return inc.index.Derived().Get(version, keys...)
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
