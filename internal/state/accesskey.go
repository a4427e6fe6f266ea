package state

import (
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// Access keys (RFC 4467 2.2) are the owner's, one for each mailbox of which he has made
// URLs: of this account, or of another one, where nothing is known of them. So one
// operation here revokes all that he has authorised. A key goes with its mailbox, and
// all do with a fork: a revocation may be among what was lost.

func accessKey(dst key, a mail.AccountID, m mail.MailboxID) key {
	return mailboxKey(dst, a, kindAccess, m)
}

func encodeAccess(w *writer, k []byte) {
	w.start()
	w.raw(k)
}

// decodeAccess gives the key, not copied.
func decodeAccess(b []byte) ([]byte, error) {
	var r reader
	r.start(b)
	k := r.raw(mail.AccessKeySize)
	return k, r.finish("access key")
}

func (t *tx) setAccess(op *operation.SetAccess) (Code, mail.Result) {
	if code := t.own(); code != Done {
		return code, mail.Result{}
	}
	if len(op.Mailbox) == 0 {
		t.dropAccess()
		return Done, mail.Result{}
	}
	id := mail.MailboxID(op.Mailbox)
	switch b := t.loadBox(id); {
	case b != nil && b.hidden:
		return NoMailbox, mail.Result{}
	case len(op.Key) == 0:
		t.delete(accessKey(t.key, t.id, id))
		t.keyless = append(t.keyless, id)
		return Done, mail.Result{}
	case t.get(accessKey(t.key, t.id, id)) != nil:
		return Done, mail.Result{} // the first one counts
	case t.accessKeys() >= mail.MaxAccessKeys:
		return Limit, mail.Result{}
	}
	encodeAccess(&t.buf, op.Key)
	t.set(accessKey(t.key, t.id, id), t.buf)
	return Done, mail.Result{}
}

// accessKeys counts them: there are few.
func (t *tx) accessKeys() (n int) {
	from := accountKey(nil, t.id, kindAccess)
	t.scan(from, prefixEnd(from), func(_, _ []byte) bool {
		n++
		return true
	})
	return n
}

func (t *tx) dropAccess() {
	from := accountKey(nil, t.id, kindAccess)
	t.scan(from, prefixEnd(from), func(k, _ []byte) bool {
		t.keyless = append(t.keyless, mail.MailboxID(k[accountPrefix:]))
		return true
	})
	t.dropKeys(from, prefixEnd(from), mail.MaxAccessKeys)
}

// AccessKey implements mail.View.
func (v *View) AccessKey(m mail.MailboxID) ([]byte, error) {
	if v.foreign() {
		return nil, nil
	}
	b, err := v.r.Get(accessKey(nil, v.id, m))
	if err != nil || b == nil {
		return nil, storeErr(err, "access key of", m)
	}
	k, err := decodeAccess(b)
	return slices.Clone(k), storeErr(err, "access key of", m)
}

// access: there are not too many keys, and none of a hidden mailbox.
func (a *auditor) access(id mail.AccountID, hidden map[mail.MailboxID]bool) error {
	n := 0
	from := accountKey(nil, id, kindAccess)
	for k, b := range a.r.Scan(from, prefixEnd(from)) {
		if _, err := decodeAccess(b); err != nil {
			return storeErr(err, "access keys of", id)
		}
		n++
		if m := mail.MailboxID(k[accountPrefix:]); hidden[m] {
			a.wrong("account %v: hidden mailbox %v has an access key", id, m)
		}
	}
	if n > mail.MaxAccessKeys {
		a.wrong("account %v: %d access keys, at most %d", id, n, mail.MaxAccessKeys)
	}
	return scanErr(a.r)
}
