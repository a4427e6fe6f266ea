package state

import (
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

func (t *tx) create(op *operation.Create) (Code, mail.Result) {
	name := canonicalName(op.Name)
	sup := t.superior(name)
	if code := t.mayAdd(sup); code != Done {
		return code, mail.Result{}
	}
	if code := t.own(); op.Use != "" && code != Done {
		return code, mail.Result{}
	}
	if code := t.mayCreate(name, mail.SpecialUse(op.Use)); code != Done {
		return code, mail.Result{}
	}
	b := t.newMailbox(mail.MailboxID(op.Id), name, mail.SpecialUse(op.Use))
	t.inherit(b, sup)
	return Done, mail.Result{Mailbox: b.id, UIDValidity: b.uidvalidity, ModSeq: b.highest}
}

func (t *tx) mayCreate(name string, use mail.SpecialUse) Code {
	if !validName(name) {
		return BadName
	}
	if _, ok := useCode(use); !ok {
		return Cannot
	}
	if t.mailboxOf(name) != nil {
		return Exists
	}
	if use != "" && t.get(t.useKey(use)) != nil {
		return UseTaken
	}
	if t.acc.mailboxes >= mail.MaxMailboxes {
		return Limit
	}
	return Done
}

// newMailbox adds a mailbox that mayCreate allows.
func (t *tx) newMailbox(id mail.MailboxID, name string, use mail.SpecialUse) *box {
	b := &box{id: id, tableLoaded: true}
	b.mailbox = mailbox{uidvalidity: t.acc.newUIDValidity(t.now), uidnext: 1, name: name, use: use}
	t.boxes = append(t.boxes, b)
	t.drawAccount()
	t.touch(b)
	t.acc.mailboxes++
	t.setName(name, id)
	if use != "" {
		t.buf.start()
		t.buf.raw(id[:])
		t.set(t.useKey(use), t.buf)
	}
	return b
}

func (t *tx) useKey(use mail.SpecialUse) key {
	return accountKey(t.key, t.id, kindUse).string(string(use))
}

func (t *tx) setName(name string, id mail.MailboxID) {
	t.buf.start()
	t.buf.raw(id[:])
	t.set(nameKey(t.key, t.id, kindName, name), t.buf)
}

// mailboxOf returns the id that a canonical name leads to, nil for none.
func (t *tx) mailboxOf(name string) *mail.MailboxID {
	return t.idAt(nameKey(t.key, t.id, kindName, name))
}

// idAt reads a key whose value is a mailbox id.
func (t *tx) idAt(k key) *mail.MailboxID {
	octets := t.get(k)
	if octets == nil {
		return nil
	}
	id, err := decodeMailboxID(octets)
	if err != nil {
		t.fail(err)
		return nil
	}
	return &id
}

func decodeMailboxID(b []byte) (mail.MailboxID, error) {
	var r reader
	r.start(b)
	id := mail.MailboxID(r.id())
	return id, r.finish("name")
}

// deleteMailbox hides a mailbox for the retention time; inferiors stay.
func (t *tx) deleteMailbox(op *operation.Delete) (Code, mail.Result) {
	name := canonicalName(op.Name)
	id := t.mailboxOf(name)
	if id != nil {
		if b := t.box(*id); b != nil {
			if code := t.need(b, mail.MayDelete); code != Done {
				return code, mail.Result{}
			}
		}
	}
	if name == mail.Inbox {
		return Cannot, mail.Result{}
	}
	if id == nil {
		if t.visibleBelow(name) {
			return HasChildren, mail.Result{}
		}
		return NoMailbox, mail.Result{}
	}
	b := t.box(*id)
	if b == nil {
		return NoMailbox, mail.Result{}
	}
	t.delete(nameKey(t.key, t.id, kindName, name))
	if b.use != "" {
		t.delete(t.useKey(b.use)) // b keeps it for the case that it comes back
	}
	b.hidden, b.hiddenAt, b.hiddenBy = true, t.now, t.touch(b)
	t.acc.mailboxes--
	t.acc.quota.UsedMessages -= int64(b.messages)
	t.acc.quota.UsedOctets -= b.size
	_, use := t.metadataOf(b.id)
	t.acc.metadata.sub(use)
	t.delete(accessKey(t.key, t.id, b.id))
	t.keepMailbox(b)
	return Done, mail.Result{ModSeq: t.drawAccount()}
}

// visibleBelow reports whether the user may look up a mailbox below a name.
func (t *tx) visibleBelow(name string) bool {
	if !t.foreign() {
		return len(t.inferiors(name, 1)) > 0
	}
	for _, m := range t.inferiors(name, mail.MaxMailboxes) {
		if b := t.loadBox(m.id); b != nil && t.rights(b).Has(mail.MayLookup) {
			return true
		}
	}
	return false
}

// named is a mailbox by its name.
type named struct {
	name string
	id   mail.MailboxID
}

// inferiors lists at most limit mailboxes below a name.
func (t *tx) inferiors(name string, limit int) (list []named) {
	from := nameKey(nil, t.id, kindName, name).octets(keySeparator)
	t.scan(from, prefixEnd(from), func(k, v []byte) bool {
		id, err := decodeMailboxID(v)
		if err != nil {
			t.fail(err)
			return false
		}
		list = append(list, named{keyName(k[accountPrefix:]), id})
		return len(list) < limit
	})
	return list
}

// rename moves a name and all below it; INBOX only gives its messages away.
func (t *tx) rename(op *operation.Rename) (Code, mail.Result) {
	from, to := canonicalName(op.From), canonicalName(op.To)
	if from == mail.Inbox {
		if code := t.own(); code != Done {
			return code, mail.Result{}
		}
		return t.renameInbox(to, mail.MailboxID(op.Id))
	}
	list := t.inferiors(from, mail.MaxMailboxes+1)
	var res mail.Result
	if id := t.mailboxOf(from); id != nil {
		list = slices.Insert(list, 0, named{from, *id})
		res.Mailbox = *id
	}
	if len(list) == 0 {
		return NoMailbox, mail.Result{}
	}
	if code := t.mayMove(to, list); code != Done {
		return code, mail.Result{}
	}
	if code := t.mayRename(from, to, list); code != Done {
		return code, mail.Result{}
	}
	for _, m := range list {
		t.delete(nameKey(t.key, t.id, kindName, m.name))
	}
	for _, m := range list {
		// Written at once: there may be thousands.
		b := t.loadBox(m.id)
		if b == nil {
			t.fail(storeErr(errNameWithoutMailbox, "rename", m.id))
			break
		}
		b.name = to + m.name[len(from):]
		b.encode(&t.buf)
		t.set(mailboxKey(t.key, t.id, kindMailbox, b.id), t.buf)
		t.setName(b.name, b.id)
	}
	res.ModSeq = t.drawAccount()
	return Done, res
}

// mayMove refuses a user who lacks the right x of a mailbox, or may make none where it
// is to go.
func (t *tx) mayMove(to string, list []named) Code {
	for _, m := range list {
		b := t.loadBox(m.id)
		if b == nil {
			continue
		}
		if code := t.need(b, mail.MayDelete); code != Done {
			return code
		}
	}
	return t.mayAdd(t.superior(to))
}

func (t *tx) mayRename(from, to string, list []named) Code {
	switch {
	case !validName(to):
		return BadName
	case isInferior(to, from):
		return Cannot
	case t.mailboxOf(to) != nil:
		return Exists
	}
	for _, m := range list {
		name := to + m.name[len(from):]
		if !validName(name) {
			return Limit
		}
		if name != from && !isInferior(name, from) && t.mailboxOf(name) != nil {
			return Exists
		}
	}
	return Done
}

// renameInbox makes a mailbox and moves INBOX's messages there; INBOX and what
// is below it stay (RFC 9051 6.3.6).
func (t *tx) renameInbox(to string, id mail.MailboxID) (Code, mail.Result) {
	if code := t.mayCreate(to, ""); code != Done {
		return code, mail.Result{}
	}
	inbox := t.box(t.acc.inbox)
	if inbox == nil {
		return NoMailbox, mail.Result{}
	}
	uids := t.existing(inbox, mail.UIDSet{{Lo: 1, Hi: maxUID}}, int(inbox.messages))
	entries, use := t.metadataOf(inbox.id)
	total := t.acc.metadata
	if total.add(use); total.excess() != Done {
		return Limit, mail.Result{}
	}
	b := t.newMailbox(id, to, "")
	t.inherit(b, t.superior(to))
	t.copyMetadata(entries, use, b.id)
	t.transfer(inbox, b, uids, true) // into an empty mailbox: nothing to refuse
	return Done, mail.Result{Mailbox: b.id, UIDValidity: b.uidvalidity, ModSeq: b.highest}
}

// maxSubscriptions of an account: names need not exist, so they need a bound.
const maxSubscriptions = 2 * mail.MaxMailboxes

func (t *tx) subscribe(op *operation.Subscribe) (Code, mail.Result) {
	if code := t.own(); code != Done {
		return code, mail.Result{}
	}
	name := canonicalName(op.Name)
	if !validName(name) {
		return BadName, mail.Result{}
	}
	there := t.get(nameKey(t.key, t.id, kindSubscribe, name)) != nil
	switch {
	case there == op.On:
		return Done, mail.Result{}
	case op.On && t.acc.subscriptions >= maxSubscriptions:
		return Limit, mail.Result{}
	}
	t.setSubscribed(name, op.On)
	return Done, mail.Result{ModSeq: t.drawAccount()}
}

// setSubscribed changes a subscription that is not so already.
func (t *tx) setSubscribed(name string, on bool) {
	k := nameKey(t.key, t.id, kindSubscribe, name)
	if !on {
		t.delete(k)
		t.acc.subscriptions--
		return
	}
	t.set(k, mark)
	t.acc.subscriptions++
}
