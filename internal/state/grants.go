package state

import (
	"bytes"
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// A mailbox's grants are one record, which hardly any mailbox has: that it has one its
// own record says, so that an owner's operations do not look for it.

func encodeGrants(w *writer, list []mail.Grant) {
	w.start()
	w.uint(uint64(len(list)))
	for _, g := range list {
		w.raw(g.User[:])
		w.uint(uint64(g.Rights))
	}
}

func decodeGrants(b []byte) ([]mail.Grant, error) {
	var r reader
	r.start(b)
	n := r.count(17)
	if n == 0 || n > mail.MaxGrants {
		r.fail()
		n = 0
	}
	list := make([]mail.Grant, 0, n)
	for i := range n {
		g := mail.Grant{User: r.id()}
		rights := r.uint()
		g.Rights = mail.Rights(rights)
		if rights == 0 || rights > uint64(mail.AllRights) || i > 0 && bytes.Compare(list[i-1].User[:], g.User[:]) >= 0 {
			r.fail()
			break
		}
		list = append(list, g)
	}
	return list, r.finish("grants")
}

// readGrants returns a mailbox's grants, ascending by user.
func readGrants(r Reader, a mail.AccountID, id mail.MailboxID) ([]mail.Grant, error) {
	b, err := r.Get(mailboxKey(nil, a, kindGrants, id))
	if err != nil || b == nil {
		return nil, storeErr(err, "read grants of", id)
	}
	list, err := decodeGrants(b)
	return list, storeErr(err, "read grants of", id)
}

// grantTo is the place of a user's grant, or where it would be.
func grantTo(list []mail.Grant, user mail.AccountID) (i int, there bool) {
	return slices.BinarySearchFunc(list, user, func(g mail.Grant, u mail.AccountID) int { return bytes.Compare(g.User[:], u[:]) })
}

// foreign reports whether the operation is of a user who is not the account's owner.
func (t *tx) foreign() bool { return t.user != mail.AccountID{} && t.user != t.id }

// grants returns b's.
func (t *tx) grants(b *box) []mail.Grant {
	if !b.shared || b.grantsLoaded {
		return b.grants
	}
	b.grantsLoaded = true
	list, err := readGrants(t.kv, t.id, b.id)
	if err != nil {
		t.fail(err)
	}
	b.grants = list
	return list
}

// rights is what the operation's user may do with b.
func (t *tx) rights(b *box) mail.Rights {
	if t.foreign() {
		return mail.RightsOf(t.grants(b), t.user, false)
	}
	return mail.RightsOf(t.grants(b), t.id, true)
}

// need refuses a user who lacks one of these rights. A mailbox that they may not look up
// is none for them.
func (t *tx) need(b *box, need mail.Rights) Code {
	switch have := t.rights(b); {
	case have.Has(need):
		return Done
	case have.Has(mail.MayLookup):
		return NoPerm
	}
	return NoMailbox
}

// own refuses users who are not the owner.
func (t *tx) own() Code {
	if t.foreign() {
		return NoPerm
	}
	return Done
}

// superior is the nearest mailbox above a name, nil if there is none.
func (t *tx) superior(name string) *box {
	for i := len(name) - 1; i > 0; i-- {
		if name[i] != mail.Separator[0] {
			continue
		}
		if id := t.mailboxOf(name[:i]); id != nil {
			return t.box(*id)
		}
	}
	return nil
}

// mayAdd refuses a user who may make no mailboxes below sup.
func (t *tx) mayAdd(sup *box) Code {
	if sup == nil {
		return t.own()
	}
	return t.need(sup, mail.MayCreate)
}

// inherit gives a new mailbox the grants of the one above.
func (t *tx) inherit(b, sup *box) {
	if sup != nil && sup.shared {
		t.setGrants(b, t.grants(sup))
	}
}

func (t *tx) setGrants(b *box, list []mail.Grant) {
	b.grants, b.grantsLoaded, b.shared, b.dirty = list, true, len(list) > 0, true
	k := mailboxKey(t.key, t.id, kindGrants, b.id)
	if !b.shared {
		t.delete(k)
		return
	}
	encodeGrants(&t.buf, list)
	t.set(k, t.buf)
}

// setACL changes one grant. A grant of nothing is none; so is the owner's of everything.
func (t *tx) setACL(op *operation.SetACL) (Code, mail.Result) {
	b := t.box(mail.MailboxID(op.Mailbox))
	if b == nil {
		return NoMailbox, mail.Result{}
	}
	if code := t.need(b, mail.MayAdmin); code != Done {
		return code, mail.Result{}
	}
	var user mail.AccountID
	copy(user[:], op.User)
	list := t.grants(b)
	i, there := grantTo(list, user)
	was, none := mail.Rights(0), mail.Rights(0)
	if user == t.id {
		was, none = mail.AllRights, mail.AllRights
	}
	if there {
		was = list[i].Rights
	}
	rights := changeRights(was, none, mail.ACLMode(op.Mode), mail.Rights(op.Rights)&mail.AllRights)
	if user == t.id {
		rights |= mail.OwnersRights
	}
	switch {
	case rights == was:
		return Done, mail.Result{}
	case rights == none:
		list = slices.Delete(slices.Clone(list), i, i+1)
	case there:
		list = slices.Clone(list)
		list[i].Rights = rights
	case len(list) >= mail.MaxGrants:
		return Limit, mail.Result{}
	default:
		list = slices.Insert(slices.Clone(list), i, mail.Grant{User: user, Rights: rights})
	}
	at := t.drawAccount()
	t.grantWas = was
	t.setGrants(b, list)
	return Done, mail.Result{Mailbox: b.id, ModSeq: at}
}

// changeRights is what was after a SETACL or, with none, a DELETEACL.
func changeRights(was, none mail.Rights, mode mail.ACLMode, rights mail.Rights) mail.Rights {
	switch mode {
	case mail.AddRights:
		return was | rights
	case mail.RemoveRights:
		return was &^ rights
	case mail.DeleteGrant:
		return none
	}
	return rights
}

// granted is what b's grants say of a user alone.
func (t *tx) granted(b *box, user mail.AccountID) mail.Rights {
	if i, there := grantTo(t.grants(b), user); there {
		return b.grants[i].Rights
	}
	if user == t.id {
		return mail.AllRights
	}
	return 0
}
