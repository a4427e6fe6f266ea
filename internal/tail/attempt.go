package tail

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/salvage"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// errNoStore ends an attempt: it would only wait, for each message again.
var errNoStore = errors.New("stores do not take deliveries")

// take looks at one operation of the tail.
func (a *attempt) take(op salvage.LeftOp) error {
	a.from = op.From
	if op.Op == nil {
		return a.flush()
	}
	if what := change(op); what != "" {
		return a.list(op, what)
	}
	if op.Op.GetCreateAccount() != nil && (op.Outcome == nil || op.Outcome.Code == state.Done) {
		return a.createAccount(op)
	}
	id, ok := state.Insertion(op.LSN, op.Op)
	if !ok {
		return nil
	}
	for n, added := range op.Added {
		m := message{Added: added, place: place{op.LSN, n}, what: describe(op, added)}
		if a.ledger.settled(m.place) {
			continue
		}
		m.ask = slot.Ask{DeliveryRef: state.DeliveryRef{Account: added.Account, Transaction: id, Number: added.Number}}
		if !added.Confirmed {
			m.ask.ContentKey = added.ContentKey
		}
		if a.waiting = append(a.waiting, m); len(a.waiting) >= maxAsked {
			if err := a.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush deals with the messages that wait.
func (a *attempt) flush() error {
	if len(a.waiting) == 0 {
		return nil
	}
	asks := make([]slot.Ask, 0, len(a.waiting))
	for i := range a.waiting {
		asks = append(asks, a.waiting[i].ask)
	}
	had, err := a.Cluster.Had(a.ctx, a.src.Store, a.from, asks)
	if err == nil && len(had) != len(asks) {
		err = fmt.Errorf("%d answers to %d questions", len(had), len(asks))
	}
	if err != nil {
		return fmt.Errorf("ask store %s what it had: %w", a.src.Store, err)
	}
	for i := range a.waiting {
		m := &a.waiting[i]
		if had[i] {
			err = a.note(m, OutcomeHad, "")
		} else {
			err = a.deliver(m)
		}
		if err != nil {
			return err
		}
	}
	clear(a.waiting)
	a.waiting = a.waiting[:0]
	return a.ledger.sync()
}

// deliver delivers m again. An error ends the attempt; what concerns m alone does not.
func (a *attempt) deliver(m *message) error {
	octets, err := m.Octets()
	if err != nil {
		a.log.Error("a message of a tail cannot be read", "lsn", m.lsn, "account", m.Account.String(), "err", err)
		return a.note(m, OutcomeLeft, err.Error())
	}
	o, err := a.owner(m.Account)
	if err != nil {
		return err
	}
	prefix := m.Prefix
	if len(prefix) > operation.MaxPrefix {
		prefix, octets = nil, slices.Concat(prefix, octets)
	}
	res, err := a.Cluster.Redeliver(a.ctx, o.Store, slot.Delivery{
		Transaction: m.ask.Transaction, Octets: octets,
		Recipients: []state.Recipient{{
			Number: m.Number, Account: m.Account, Mailbox: m.Mailbox, Name: m.Name, Prefix: bytes.Clone(prefix), Flags: m.Flags,
			Keywords: m.Keywords, InternalDate: m.Date, ContentKey: m.ask.ContentKey, EmailID: m.EmailID, ThreadID: m.ThreadID,
		}},
	})
	if a.ctx.Err() != nil {
		return a.ctx.Err()
	}
	if err != nil {
		if a.failures++; a.failures >= maxFailures {
			return fmt.Errorf("%w: %w", errNoStore, err)
		}
		return a.note(m, OutcomeLeft, err.Error())
	}
	a.failures = 0
	switch {
	case res.Duplicate:
		return a.note(m, OutcomeHad, "")
	case res.Code == state.Done:
		return a.note(m, OutcomeDelivered, "")
	case res.Code == state.NoAccount && o.User == "":
		return a.note(m, OutcomeGone, "")
	}
	return a.note(m, OutcomeLeft, res.Code.Err().Error())
}

func (a *attempt) note(m *message, outcome, why string) error {
	o, err := a.owner(m.Account)
	if err != nil {
		return err
	}
	what := m.what
	if why != "" {
		what += ": " + why
	}
	a.log.Info("message of a tail", "lsn", m.lsn, "account", m.Account.String(), "user", o.User, "outcome", outcome, "what", what)
	return a.ledger.note(line{m.lsn, m.n, m.Account, o.User, o.Store, outcome, what})
}

// list notes a change that is not made.
func (a *attempt) list(op salvage.LeftOp, what string) error {
	p := place{op.LSN, 0}
	if a.ledger.settled(p) {
		return nil
	}
	account := mail.AccountID(op.Op.Account)
	o, err := a.owner(account)
	if err != nil {
		return err
	}
	a.log.Info("change of a tail is not made", "lsn", op.LSN, "account", account.String(), "user", o.User, "what", what)
	return a.ledger.note(line{op.LSN, 0, account, o.User, o.Store, OutcomeListed, what})
}

// createAccount makes the account of a user who was added in the history that was
// left: the directory has the user.
func (a *attempt) createAccount(op salvage.LeftOp) error {
	account := mail.AccountID(op.Op.Account)
	if a.ledger.settled(place{op.LSN, 0}) {
		return nil
	}
	o, err := a.owner(account)
	if err != nil {
		return err
	}
	x := line{op.LSN, 0, account, o.User, o.Store, OutcomeListed, "the account was created; no user has it"}
	if o.User != "" {
		if err := a.Cluster.CreateAccount(a.ctx, account, o); err != nil {
			return fmt.Errorf("create account %v again: %w", account, err)
		}
		x.What = "the account was created, and is again"
	}
	return a.ledger.note(x)
}
