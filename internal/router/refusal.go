package router

import (
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/lmtpd"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// refusals are answered here because an MTA means something else by them than an
// account's user does; lmtpd's table has the rest.
var refusals = []struct {
	err   error
	reply *lmtpd.Reply
}{
	// The message with what was added to it is over the limit.
	{mail.ErrLimit, &lmtpd.Reply{Code: 552, Enhanced: "5.3.4", Text: "message too large"}},
	// The directory has this user. That the store has not is a fault on this side,
	// or passes: a bug must never bounce mail.
	{mail.ErrNoAccount, &lmtpd.Reply{Code: 451, Enhanced: "4.3.0", Text: "mailbox is not ready, try again later"}},
	{mail.ErrNoMailbox, &lmtpd.Reply{Code: 451, Enhanced: "4.3.0", Text: "mailbox is not ready, try again later"}},
}

// refusal is the error for a store's refusal of one recipient.
func refusal(c state.Code) error {
	err := c.Err()
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return fmt.Errorf("%w: %w", err, r.reply)
		}
	}
	return err
}

// permanent reports whether an MTA would bounce the message for err.
func permanent(err error) bool {
	var r *lmtpd.Reply
	return errors.As(err, &r) && r.Code >= 500
}

// worse is the error for an alias whose users fail with a and b: a temporary one
// before a permanent one, so that those who can have it get it; then the first.
func worse(a, b error) error {
	if a == nil || b != nil && permanent(a) && !permanent(b) {
		return b
	}
	return a
}
