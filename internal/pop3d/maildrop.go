package pop3d

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// maildrop is INBOX as the client sees it.
type maildrop struct {
	id       mail.MailboxID
	validity mail.UIDValidity
	told     session.Announced
	messages []entry // by number less one
	marked   mail.UIDSet
}

type entry struct {
	uid  mail.UID
	size uint32 // octets
	uidl string // as imported, "" if it has none of its own
}

// open takes the picture at log-in.
func open(v mail.View) (*maildrop, error) {
	info, err := v.Lookup(mail.Inbox)
	if err != nil {
		return nil, fmt.Errorf("open maildrop: %w", err)
	}
	d := &maildrop{id: info.ID, validity: info.UIDValidity, told: session.Announced{
		UIDNext: info.UIDNext, Expunged: session.Cut{ModSeq: info.HighestModSeq}, Flags: info.HighestModSeq, Highest: info.HighestModSeq,
	}}
	d.messages = make([]entry, 0, info.Messages)
	for m, err := range v.Messages(d.id, 1, info.UIDNext-1) {
		if err != nil {
			return nil, fmt.Errorf("open maildrop: %w", err)
		}
		d.add(entry{m.UID, uint32(m.Size), m.UIDL})
	}
	d.settleUIDLs()
	return d, nil
}

func (d *maildrop) add(e entry) {
	d.messages = append(d.messages, e)
	d.told.Count++
	d.told.Sum = d.told.Sum.Add(e.uid)
}

// remember is the picture that a client has who was told so much.
// session.ErrNotResumable.
func remember(v mail.View, t *session.Token) (*maildrop, error) {
	account, err := v.Account()
	switch {
	case err != nil:
		return nil, err
	case account.Fork != t.Fork:
		return nil, fmt.Errorf("%w: it began in history %d of the account, this is %d", session.ErrNotResumable, t.Fork, account.Fork)
	case t.Selected == nil:
		return nil, fmt.Errorf("%w: it has no maildrop", session.ErrNotResumable)
	}
	info, err := v.Lookup(mail.Inbox)
	if err != nil {
		return nil, fmt.Errorf("open maildrop: %w", err)
	}
	sel := t.Selected
	if info.ID != sel.Mailbox || info.UIDValidity != sel.UIDValidity || sel.UIDNext > info.UIDNext || sel.Expunged.ModSeq > info.HighestModSeq {
		return nil, fmt.Errorf("%w: its maildrop is not this one", session.ErrNotResumable)
	}
	uids, err := mail.InView(v, info.ID, 1, sel.UIDNext, sel.Expunged.ModSeq)
	switch {
	case errors.Is(err, mail.ErrBelowFloor):
		return nil, fmt.Errorf("%w: %w", session.ErrNotResumable, err)
	case err != nil:
		return nil, err
	}
	d := &maildrop{id: info.ID, validity: info.UIDValidity, marked: t.Saved}
	for u := range uids.All() {
		d.add(entry{uid: u})
	}
	if d.told.Count != sel.Count || d.told.Sum != sel.Sum {
		return nil, fmt.Errorf("%w: the client has %d messages in view, here they would be %d or others",
			session.ErrNotResumable, sel.Count, d.told.Count)
	}
	d.told = sel.Announced
	return d, d.measure(v)
}

// measure finds the sizes and the ids of the messages that are still there.
func (d *maildrop) measure(v mail.View) error {
	if len(d.messages) == 0 {
		return nil
	}
	for m, err := range v.Messages(d.id, d.messages[0].uid, d.messages[len(d.messages)-1].uid) {
		if err != nil {
			return fmt.Errorf("read maildrop: %w", err)
		}
		i, found := slices.BinarySearchFunc(d.messages, m.UID, func(e entry, u mail.UID) int { return cmp.Compare(e.uid, u) })
		if found {
			d.messages[i].size, d.messages[i].uidl = uint32(m.Size), m.UIDL
		}
	}
	d.settleUIDLs()
	return nil
}

// selected is what the token says of the maildrop.
func (d *maildrop) selected() *session.Selected {
	return &session.Selected{Mailbox: d.id, UIDValidity: d.validity, Announced: d.told}
}

// at finds a message by its number, unless it is marked.
func (d *maildrop) at(n int) (entry, error) {
	if n < 1 || n > len(d.messages) {
		return entry{}, errNumber
	}
	e := d.messages[n-1]
	if d.marked.Contains(e.uid) {
		return entry{}, errMarked
	}
	return e, nil
}

// each visits the messages that are not marked, by number.
func (d *maildrop) each(visit func(n int, e entry)) {
	for i, e := range d.messages {
		if !d.marked.Contains(e.uid) {
			visit(i+1, e)
		}
	}
}
