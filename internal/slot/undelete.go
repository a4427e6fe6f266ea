package slot

import (
	"context"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// Undelete is one operation that brings something of an account back. Asked again
// with the same id it has no second effect, and the first answer.
type Undelete struct {
	Session string         `json:"session"` // 32 hexadecimal digits; with Number, the operation's id
	Number  uint64         `json:"number"`
	Mailbox mail.MailboxID `json:"mailbox"`
	UIDs    mail.UIDSet    `json:"uids,omitempty"`  // at most mail.MaxTouched; none: the hidden mailbox itself
	To      mail.MailboxID `json:"to,omitzero"`     // where its messages go
	Name    string         `json:"name,omitempty"`  // that the mailbox gets
	Force   bool           `json:"force,omitempty"` // over the quota, too
}

// Undeleted says what came back: messages that had the UIDs Source have UIDs now.
type Undeleted struct {
	Source mail.UIDSet `json:"source,omitempty"`
	UIDs   mail.UIDSet `json:"uids,omitempty"`
}

// Undelete does one operation. The refusals are those of state.Builder.Undelete.
func (s *Slot) Undelete(ctx context.Context, account, by string, u Undelete) (Undeleted, error) {
	var id mail.AccountID
	if err := id.UnmarshalText([]byte(account)); err != nil {
		return Undeleted{}, err
	}
	op, err := operationID(u.Session, u.Number)
	if err != nil {
		return Undeleted{}, fmt.Errorf("undelete: %w", err)
	}
	what := state.Undelete{Mailbox: u.Mailbox, UIDs: u.UIDs, To: u.To, Name: u.Name, OverQuota: u.Force}
	inc := s.current()
	if inc == nil || s.serving.master() == 0 {
		return Undeleted{}, mail.ErrMoved
	}
	actor := mail.Actor{By: by, Session: op.Session, Command: "user undelete"}
	out, err := inc.propose(ctx, nil, func(b *state.Builder) (*state.Proposal, error) { return b.Undelete(actor, op, id, what) })
	return Undeleted{Source: out.Result.Source, UIDs: out.Result.UIDs}, err
}

// UndeleteAccount makes a deleted account be there again. One that is there is left as
// it is. mail.ErrNoAccount: it was purged, in part at least.
func (s *Slot) UndeleteAccount(ctx context.Context, account, by string) error {
	var id mail.AccountID
	if err := id.UnmarshalText([]byte(account)); err != nil {
		return err
	}
	return s.propose(ctx, func(b *state.Builder) (*state.Proposal, error) {
		return b.UndeleteAccount(mail.Actor{By: by, Command: "user undelete"}, id)
	})
}

// purgeSteps is how many operations one PurgeNow does at most.
const purgeSteps = 20

// PurgeNow lets what was deleted in an account, or in the mailboxes of that name, go at
// once; of a deleted account, everything. more: ask again.
func (s *Slot) PurgeNow(ctx context.Context, account, mailbox, by string) (more bool, err error) {
	var id mail.AccountID
	if err := id.UnmarshalText([]byte(account)); err != nil {
		return false, err
	}
	inc := s.current()
	if inc == nil || s.serving.master() == 0 {
		return false, mail.ErrMoved
	}
	list := []state.Purge{{Deleted: state.Everything}}
	if mailbox != "" {
		list = nil
		err := s.reading(ctx, account, func(r *accountReader) error {
			for box := range r.named(mailbox) {
				list = append(list, state.Purge{Mailbox: box})
			}
			return nil
		})
		if err != nil {
			return false, err
		}
		if len(list) == 0 {
			return false, mail.ErrNoMailbox
		}
	}
	steps := purgeSteps
	for _, what := range list {
		for more = true; more; steps-- {
			if steps == 0 {
				return true, nil
			}
			out, err := inc.propose(ctx, nil, func(b *state.Builder) (*state.Proposal, error) {
				return b.Purge(mail.Actor{By: by, Command: "user purge"}, id, what)
			})
			if err != nil {
				return false, err
			}
			more = out.Result.More
		}
	}
	return false, nil
}

// FrozenAccounts lists the accounts of this store that refuse changes.
func (s *Slot) FrozenAccounts(ctx context.Context) ([]mail.AccountID, error) {
	if err := s.serving.awaitRead(ctx); err != nil {
		return nil, err
	}
	inc := s.current()
	if inc == nil {
		return nil, mail.ErrMoved
	}
	snap, err := inc.snapshot()
	if err != nil {
		return nil, err
	}
	defer snap.release()
	return state.FrozenAccounts(snap)
}

// SetRetention tells how long what was deleted is kept. Until somebody has told, it is
// kept.
func (s *Slot) SetRetention(d time.Duration) { s.retention.Store(int64(d)) }

// deletedBefore is the time up to which what was deleted may go; 0: nothing may.
func (s *Slot) deletedBefore() mail.Instant {
	d := time.Duration(s.retention.Load())
	if d <= 0 {
		return 0
	}
	return mail.InstantOf(s.cfg.Now().Add(-d))
}
