package state

import (
	"errors"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

var errNameWithoutMailbox = errors.Join(errors.New("name without its mailbox"), cluster.ErrDamaged)

// createAccount makes an account with its first mailboxes, INBOX first. An id
// that is there, or was and is not purged yet, is refused.
func (s *store) createAccount(at cluster.LSN, op *operation.Operation, c *operation.CreateAccount) Outcome {
	t, ok := s.begin(mail.AccountID(op.Account), at, mail.Instant(op.Time))
	if ok {
		if _, first := t.recall(op.Id); first != nil {
			return *first
		}
		return Outcome{Code: Exists}
	}
	if t.acc.deleted || s.err != nil {
		return Outcome{Code: Exists}
	}
	if code := mayHave(c.Mailboxes); code != Done {
		return Outcome{Code: code}
	}
	slot := s.slotRecord()
	t.acc = account{slotFork: slot.forks, nextExpiry: noExpiry, inbox: mail.MailboxID(c.Mailboxes[0].Id)}
	t.acc.quota.LimitMessages, t.acc.quota.LimitOctets = c.LimitMessages, c.LimitOctets
	for _, m := range c.Mailboxes {
		name := canonicalName(m.Name)
		t.newMailbox(mail.MailboxID(m.Id), name, mail.SpecialUse(m.Use))
		if m.Subscribed {
			t.setSubscribed(name, true)
		}
	}
	out := Outcome{Result: mail.Result{ModSeq: t.drawAccount()}}
	t.note(op, &out)
	cmd, _ := t.recall(op.Id)
	t.remember(cmd, out.Code, &out.Result)
	out.Changed = []Changed{t.flush()}
	return out
}

// mayHave checks the first mailboxes of an account, which can only collide with
// each other.
func mayHave(list []*operation.NewMailbox) Code {
	names, uses, ids := map[string]bool{}, map[string]bool{"": false}, map[mail.MailboxID]bool{}
	for i, m := range list {
		name, id := canonicalName(m.Name), mail.MailboxID(m.Id)
		_, known := useCode(mail.SpecialUse(m.Use))
		switch {
		case !validName(name) || (i == 0) != (name == mail.Inbox):
			return BadName
		case !known:
			return Cannot
		case names[name] || ids[id]:
			return Exists
		case uses[m.Use]:
			return UseTaken
		}
		names[name], ids[id], uses[m.Use] = true, true, m.Use != ""
	}
	return Done
}

func (t *tx) setQuota(op *operation.SetQuota) (Code, mail.Result) {
	q := &t.acc.quota
	if code := t.own(); code != Done {
		return code, mail.Result{}
	}
	if op.LimitMessages < 0 || op.LimitOctets < 0 {
		return Limit, mail.Result{}
	}
	if q.LimitMessages == op.LimitMessages && q.LimitOctets == op.LimitOctets {
		return Done, mail.Result{}
	}
	q.LimitMessages, q.LimitOctets = op.LimitMessages, op.LimitOctets
	return Done, mail.Result{ModSeq: t.drawAccount()}
}

func (t *tx) freeze(op *operation.Freeze) (Code, mail.Result) {
	if t.acc.frozen == op.On {
		return Done, mail.Result{}
	}
	t.acc.frozen = op.On
	return Done, mail.Result{ModSeq: t.drawAccount()}
}

// deleteAccount hides the account; Purge operations remove what it has.
func (t *tx) deleteAccount() (Code, mail.Result) {
	t.acc.deleted, t.acc.frozen = true, false
	res := mail.Result{ModSeq: t.drawAccount()}
	t.set(purgeKey(t.key, t.id), mark)
	return Done, res
}

func purgeKey(dst key, a mail.AccountID) key {
	return append(append(dst[:0], spacePurge), a[:]...)
}
