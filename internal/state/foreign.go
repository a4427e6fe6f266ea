package state

import (
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
