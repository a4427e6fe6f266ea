package slot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// Delivery is one transaction's message for recipients of this store.
type Delivery struct {
	Transaction mail.TransactionID
	Actor       mail.Actor
	Octets      []byte // canonical; not kept after Deliver returns
	Recipients  []state.Recipient
}

// Deliver stores a message for its recipients and returns an outcome for each, in
// order. mail.ErrMoved, ErrBusy: nothing happened. mail.ErrUnknown: the same
// transaction asked again gives the first outcome.
func (s *Slot) Deliver(ctx context.Context, d Delivery) ([]state.RecipientOutcome, error) {
	inc := s.current()
	if inc == nil || s.serving.master() == 0 {
		return nil, mail.ErrMoved
	}
	body, err := inc.stager.Stage(ctx, bytes.NewReader(d.Octets), mail.MaxMessageSize)
	if err != nil {
		return nil, fmt.Errorf("stage delivery: %w", err)
	}
	defer body.Close()
	if err := inc.nameMailboxes(&d); err != nil {
		return nil, err
	}
	out, err := inc.propose(ctx, []mail.Body{body}, func(b *state.Builder) (*state.Proposal, error) {
		return b.Deliver(state.Delivery{Transaction: d.Transaction, Actor: d.Actor, Body: body, Recipients: d.Recipients})
	})
	inc.counts.deliveries.Add(int64(len(out.Recipients)))
	return out.Recipients, err
}

// nameMailboxes finds the mailboxes that recipients ask for by a name, because the
// one they know may be gone. Who asks is not an MTA, so that this may cost a look.
func (inc *incarnation) nameMailboxes(d *Delivery) error {
	if !slices.ContainsFunc(d.Recipients, func(r state.Recipient) bool { return r.Name != "" }) {
		return nil
	}
	snap, err := inc.snapshot()
	if err != nil {
		return err
	}
	defer snap.release()
	d.Recipients = slices.Clone(d.Recipients)
	for i := range d.Recipients {
		r := &d.Recipients[i]
		if r.Name == "" {
			continue
		}
		v, err := state.NewView(snap, r.Account, nil, nil)
		if err != nil {
			continue // the operation tells why
		}
		if _, err := v.Mailbox(r.Mailbox); err != nil {
			r.Mailbox = mail.MailboxID{}
			if box, err := v.Lookup(r.Name); err == nil && !box.NonExistent {
				r.Mailbox = box.ID
			}
		}
		v.Close()
	}
	return nil
}

// Settle tells what became of the replies to deliveries. Nobody waits for it.
func (s *Slot) Settle(ctx context.Context, confirmed, inDoubt []state.DeliveryRef) error {
	return s.propose(ctx, func(b *state.Builder) (*state.Proposal, error) {
		return b.Settle(mail.Actor{Command: "LMTP"}, confirmed, inDoubt)
	})
}

// CreateAccount makes an account with the usual mailboxes. One that exists is left
// as it is.
func (s *Slot) CreateAccount(ctx context.Context, account string, quotaOctets int64) error {
	var id mail.AccountID
	if err := id.UnmarshalText([]byte(account)); err != nil {
		return err
	}
	err := s.propose(ctx, func(b *state.Builder) (*state.Proposal, error) {
		return b.CreateAccount(mail.Actor{Command: "user add"}, id, state.NewAccount{LimitOctets: quotaOctets})
	})
	if errors.Is(err, mail.ErrExists) {
		return nil
	}
	return err
}

// DeleteAccount removes an account and what it holds.
func (s *Slot) DeleteAccount(ctx context.Context, account string) error {
	var id mail.AccountID
	if err := id.UnmarshalText([]byte(account)); err != nil {
		return err
	}
	err := s.propose(ctx, func(b *state.Builder) (*state.Proposal, error) {
		return b.DeleteAccount(mail.Actor{Command: "user delete"}, id)
	})
	if errors.Is(err, mail.ErrNoAccount) {
		return nil
	}
	return err
}

// Freeze makes an account refuse changes, or no longer.
func (s *Slot) Freeze(ctx context.Context, account string, on bool, by, reason string) error {
	var id mail.AccountID
	if err := id.UnmarshalText([]byte(account)); err != nil {
		return err
	}
	return s.propose(ctx, func(b *state.Builder) (*state.Proposal, error) {
		return b.Freeze(mail.Actor{By: by, Command: "freeze"}, id, on, reason)
	})
}

// propose submits one operation that is no client's.
func (s *Slot) propose(ctx context.Context, build func(*state.Builder) (*state.Proposal, error)) error {
	inc := s.current()
	if inc == nil || s.serving.master() == 0 {
		return mail.ErrMoved
	}
	_, err := inc.propose(ctx, nil, build)
	return err
}
