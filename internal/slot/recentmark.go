package slot

import (
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// accountView is a picture of an account that knows the marks as well.
type accountView struct {
	mail.View
	account mail.AccountID
	recents *state.Recents
}

// Recent implements mail.View.
func (v *accountView) Recent(id mail.MailboxID, user string) (mail.UID, error) {
	u, err := v.View.Recent(id, user)
	return max(u, v.recents.Get(state.RecentKey{Account: v.account, Mailbox: id, User: user})), err
}
