package state

import (
	"pgregory.net/rapid"

	"github.com/tandemail/tandemail/internal/mail"
)

// ids are those of the mailboxes, hidden ones too.
func (m *model) ids() (list []mail.MailboxID) {
	for _, b := range m.boxes {
		list = append(list, b.id)
	}
	for _, b := range m.hidden {
		list = append(list, b.id)
	}
	return list
}

// access makes, drops or drops all access keys, of a mailbox here or elsewhere.
func (w *walk) access() {
	op := mail.SetAccess{Mailbox: mail.MailboxID{0xee}, Drop: rapid.Bool().Draw(w.T, "drop")}
	if rapid.Bool().Draw(w.T, "here") {
		_, b := w.some()
		op.Mailbox = b.id
	}
	if op.Drop && rapid.Bool().Draw(w.T, "all") {
		op.Mailbox = mail.MailboxID{}
		clear(w.m.keys)
	}
	w.effect(op, Done, false)
	k, err := w.h.view(w.a).AccessKey(op.Mailbox)
	switch was := w.m.keys[op.Mailbox]; {
	case err != nil, (k == nil) != op.Drop, was != "" && !op.Drop && was != string(k):
		w.Fatalf("%+v: key %x, %v after %x", op, k, err, was)
	case op.Drop:
		delete(w.m.keys, op.Mailbox)
	default:
		w.m.keys[op.Mailbox] = string(k)
	}
}
