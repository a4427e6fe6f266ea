package state

import (
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
)

// What follows is how a View looks to a user who is not the account's owner.

func (v *View) foreign() bool { return !v.user.IsZero() }

// ACL implements mail.View.
func (v *View) ACL(id mail.MailboxID) ([]mail.Grant, error) {
	m, err := v.mailbox(id)
	if err != nil || !m.shared {
		return nil, err
	}
	return readGrants(v.r, v.id, id)
}

// rightsOf is what the user may do with a mailbox. It remembers the last: all questions
// about messages come here.
func (v *View) rightsOf(id mail.MailboxID, m *mailbox) (mail.Rights, error) {
	switch {
	case !m.shared && v.foreign():
		return 0, nil
	case !m.shared:
		return mail.AllRights, nil
	case v.rightsIn == id:
		return v.rights, nil
	}
	list, err := readGrants(v.r, v.id, id)
	if err != nil {
		return 0, err
	}
	user, owner := v.user, !v.foreign()
	if owner {
		user = v.id
	}
	v.rightsIn, v.rights = id, mail.RightsOf(list, user, owner)
	return v.rights, nil
}

// foreignInfo is a mailbox as the user finds it: unseen is what he has not seen, and its
// special use is its owner's.
func (v *View) foreignInfo(info mail.MailboxInfo, m *mailbox) (mail.MailboxInfo, error) {
	info.Use, info.Unseen = "", m.messages
	if !m.private {
		return info, nil
	}
	n, err := seenCount(v.r, v.id, info.ID, v.user)
	info.Unseen -= n
	return info, err
}

// overlay replaces the owner's \Seen in p by the user's; a MODSEQ is the higher of both.
// own is scratch.
func (v *View) overlay(id mail.MailboxID, m *mailbox, no uint32, p, own *page) error {
	seen := trailingZeros(uint64(mail.Seen))
	p.system[seen] = 0
	if !m.private {
		return nil
	}
	there, err := privateOf(v.r, v.id, id, no, v.user, own)
	if err != nil || !there {
		return err
	}
	p.system[seen] = own.system[seen] & p.present
	for rest := own.present & p.present; rest != 0; rest &= rest - 1 {
		bit := trailingZeros(rest)
		p.modseqs[bit] = max(p.modseqs[bit], own.modseqs[bit])
	}
	return nil
}

// mayKnow reports whether the user may be told of an event, and leaves of it what he may
// see. grantee is whose rights have changed.
func (v *View) mayKnow(e *mail.Event, grantee mail.AccountID) (bool, error) {
	switch {
	case e.Kind == mail.RightsChanged && v.foreign():
		return grantee == v.user || grantee.IsZero(), nil
	case e.Kind == mail.RightsChanged:
		return grantee == v.id, nil
	case !v.foreign():
		return true, nil
	case e.Mailbox.IsZero():
		return false, nil // the account's own
	}
	m, _, err := readMailbox(v.r, v.id, e.Mailbox) // hidden or not
	if err != nil {
		return false, err
	}
	rights, err := v.rightsOf(e.Mailbox, &m)
	if err != nil {
		return false, err
	}
	switch {
	case e.Kind == mail.MetadataChanged:
		e.Entries = slices.DeleteFunc(e.Entries, mail.PrivateEntry)
		return len(e.Entries) > 0 && rights.Annotates(), nil
	case e.Kind == mail.MailboxRenamed && !rights.Has(mail.MayLookup):
		return v.showsBelow(e.NewName) // which was renamed with it
	}
	return rights.Has(mail.MayLookup), nil
}

// showsBelow reports whether the user may see a mailbox below a name.
func (v *View) showsBelow(name string) (bool, error) {
	for m, err := range v.Mailboxes() {
		if err != nil || isInferior(m.Name, name) {
			return err == nil, err
		}
	}
	return false, nil
}
