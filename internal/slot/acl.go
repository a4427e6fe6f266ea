package slot

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/tandemail/tandemail/internal/mail"
)

// ACL is whom one mailbox is granted to: its owner first, then anyone, then users by id.
type ACL struct {
	Mailbox string  `json:"mailbox"`
	Grants  []Grant `json:"grants"`
}

// Grant is one entry of an ACL.
type Grant struct {
	User   mail.AccountID `json:"user"` // zero: anyone
	Rights mail.Rights    `json:"rights"`
}

// ACLChange says what a user may do with a mailbox from now on. Asked again with the same
// id it has no second effect.
type ACLChange struct {
	Session string         `json:"session"` // 32 hexadecimal digits; with Number, the operation's id
	Number  uint64         `json:"number"`
	Mailbox string         `json:"mailbox"` // its name, or its id
	User    mail.AccountID `json:"user"`    // zero: anyone
	Mode    mail.ACLMode   `json:"mode,omitempty"`
	Rights  mail.Rights    `json:"rights,omitempty"`
}

// maxListedGrants bounds one answer.
const maxListedGrants = 20_000

// ACLs lists the rights in one mailbox, by its name or its id; for "" those in every
// mailbox that is granted to somebody, in the order of their names. more: these are not
// all. mail.ErrNoAccount, ErrNoMailbox.
func (s *Slot) ACLs(ctx context.Context, account, mailbox string) (list []ACL, more bool, err error) {
	list = []ACL{}
	err = s.granting(ctx, account, func(v mail.View, owner mail.AccountID) error {
		if mailbox != "" {
			info, err := mailboxOf(v, mailbox)
			if err != nil {
				return err
			}
			acl, err := aclOf(v, owner, &info)
			list = append(list, acl)
			return err
		}
		left := maxListedGrants
		for info, err := range v.Mailboxes() {
			if err != nil {
				return err
			}
			if !info.Shared {
				continue
			}
			acl, err := aclOf(v, owner, &info)
			if err != nil {
				return err
			}
			if left -= len(acl.Grants); left < 0 {
				more = true
				return nil
			}
			list = append(list, acl)
		}
		return nil
	})
	return list, more, err
}

// SetACL changes the rights in a mailbox, as its owner may. Refusals: those of mail.SetACL,
// mail.ErrNoAccount and ErrFrozen.
func (s *Slot) SetACL(ctx context.Context, account, by string, c ACLChange) error {
	id, err := operationID(c.Session, c.Number)
	if err != nil {
		return fmt.Errorf("set ACL: %w", err)
	}
	var owner mail.AccountID
	var info mail.MailboxInfo
	err = s.granting(ctx, account, func(v mail.View, id mail.AccountID) (err error) {
		owner = id
		info, err = mailboxOf(v, c.Mailbox)
		return err
	})
	if err != nil {
		return err
	}
	_, err = s.Account(owner).Do(ctx, mail.Request{
		ID: id, Actor: mail.Actor{By: by, Session: id.Session, Command: "user acl"},
		Op: mail.SetACL{Mailbox: info.ID, User: c.User, Mode: c.Mode, Rights: c.Rights},
	})
	return err
}

// Granted reports whether any mailbox is granted to a user by name, or for zero to anyone.
func (s *Slot) Granted(ctx context.Context, account string, user mail.AccountID) (granted bool, err error) {
	err = s.granting(ctx, account, func(v mail.View, _ mail.AccountID) (err error) {
		granted, err = mail.Granted(v, user)
		return err
	})
	return granted, err
}

// granting has use look at an account as its owner finds it.
func (s *Slot) granting(ctx context.Context, account string, use func(v mail.View, owner mail.AccountID) error) error {
	var id mail.AccountID
	if err := id.UnmarshalText([]byte(account)); err != nil {
		return err
	}
	v, err := s.Account(id).View(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	return use(v, id)
}

// mailboxOf finds a mailbox by its name or its id.
func mailboxOf(v mail.View, mailbox string) (mail.MailboxInfo, error) {
	info, err := v.Lookup(mailbox)
	if err == nil && !info.NonExistent {
		return info, nil
	}
	var id mail.MailboxID
	if id.UnmarshalText([]byte(mailbox)) == nil {
		return v.Mailbox(id)
	}
	if err == nil {
		err = mail.ErrNoMailbox
	}
	return info, err
}

func aclOf(v mail.View, owner mail.AccountID, info *mail.MailboxInfo) (ACL, error) {
	list, err := v.ACL(info.ID)
	acl := ACL{Mailbox: info.Name, Grants: []Grant{{User: owner, Rights: mail.RightsOf(mail.OnlyOf(list, owner), owner, true)}}}
	for _, g := range list {
		if g.User != owner {
			acl.Grants = append(acl.Grants, Grant(g))
		}
	}
	return acl, err
}

// operationID is the id of an operation whose session is given in hexadecimal digits.
func operationID(session string, number uint64) (id mail.OpID, err error) {
	id.Number = number
	b, err := hex.DecodeString(session)
	if err != nil || len(b) != len(id.Session) {
		return id, fmt.Errorf("session %q: want %d hexadecimal digits", session, 2*len(id.Session))
	}
	copy(id.Session[:], b)
	return id, nil
}
