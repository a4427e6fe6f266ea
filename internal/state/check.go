package state

import (
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// Check gives the refusal that Apply would give for what can be seen without
// doing it, so that a refusal costs no journal write; nil when only Apply knows.
// Such a refusal is not stored under the id: the operation did not happen, and
// asked again it may. An id that was seen is left to Apply, which repeats the
// first answer.
func Check(r Reader, op *operation.Operation) error {
	switch op.Kind.(type) {
	case *operation.Operation_Deliver, *operation.Operation_SettleDeliveries, *operation.Operation_Fork,
		*operation.Operation_CreateAccount, *operation.Operation_UndeleteAccount, *operation.Operation_Purge:
		return nil
	}
	id := mail.AccountID(op.Account)
	acc, ok, err := readAccount(r, id)
	if err != nil {
		return err
	}
	if !ok {
		return mail.ErrNoAccount
	}
	if seen, err := wasSeen(r, id, op.Id); seen || err != nil {
		return err
	}
	if acc.frozen && !passesFrozen(op) {
		return mail.ErrFrozen
	}
	return checkKind(r, id, acc, op)
}

// wasSeen reports whether Apply answers an id from memory.
func wasSeen(r Reader, a mail.AccountID, id *operation.CommandID) (bool, error) {
	if id == nil {
		return false, nil
	}
	b, err := r.Get(commandKey(nil, a, mail.SessionID(id.Session), 0))
	if err != nil || b == nil {
		return false, storeErr(err, "read last command of", a)
	}
	var rec reader
	rec.start(b)
	return id.Number <= rec.uint(), nil
}

func checkKind(r Reader, a mail.AccountID, acc account, op *operation.Operation) error {
	switch k := op.Kind.(type) {
	case *operation.Operation_Append:
		var octets int64
		for _, m := range k.Append.Messages {
			octets += m.Body.Size
		}
		m, ok, err := readMailbox(r, a, mail.MailboxID(k.Append.Mailbox))
		switch {
		case err != nil:
			return err
		case !ok:
			return mail.ErrNoMailbox
		case m.shared || len(op.User) > 0:
			return nil // Apply knows who may insert, and says that first
		case k.Append.Replaced != 0:
			return checkMailboxes(r, a, k.Append.ReplacedIn) // Apply knows what its room is
		}
		if !acc.fits(int64(len(k.Append.Messages)), octets) {
			return mail.ErrOverQuota
		}
	case *operation.Operation_Store:
		return checkMailboxes(r, a, k.Store.Mailbox)
	case *operation.Operation_Expunge:
		return checkMailboxes(r, a, k.Expunge.Mailbox)
	case *operation.Operation_SetMetadata:
		if id := k.SetMetadata.Mailbox; len(id) > 0 {
			return checkMailboxes(r, a, id)
		}
	case *operation.Operation_Copy:
		return checkMailboxes(r, a, k.Copy.From, k.Copy.To)
	case *operation.Operation_Undelete:
		return checkMailboxes(r, a, k.Undelete.To)
	case *operation.Operation_Move:
		return checkMailboxes(r, a, k.Move.From, k.Move.To)
	case *operation.Operation_SetAcl:
		return checkMailboxes(r, a, k.SetAcl.Mailbox)
	}
	return nil
}

func checkMailboxes(r Reader, a mail.AccountID, ids ...[]byte) error {
	for _, id := range ids {
		_, ok, err := readMailbox(r, a, mail.MailboxID(id))
		if err != nil {
			return err
		}
		if !ok {
			return mail.ErrNoMailbox
		}
	}
	return nil
}
