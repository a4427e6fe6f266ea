package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/mail"
)

// What executors of sessions say of one that cannot go on here.
var (
	ErrNotResumable = errors.New("session cannot be resumed")
	ErrGone         = errors.New("selected mailbox was deleted")
	ErrInUse        = errors.New("mailbox is locked by another session")
)

var reasonNames = [...]string{
	Moved: "moved", Busy: "busy", Unknown: "unknown outcome", Gone: "mailbox gone",
	NotResumable: "not resumable", Violation: "protocol violation", Broken: "server fault", InUse: "in use",
}

// String names r for logs and metrics.
func (r Reason) String() string {
	if int(r) < len(reasonNames) && reasonNames[r] != "" {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", byte(r))
}

// Elsewhere reports whether the session may continue at another master, or later
// at this one.
func (r Reason) Elsewhere() bool { return r == Moved || r == Busy || r == Unknown }

// ReasonOf is the one table from errors of an account or an executor to what a front
// end does about them: Broken if there is no better reason, or when the sink or the
// context ended.
func ReasonOf(err error) Reason {
	for _, e := range []struct {
		err    error
		reason Reason
	}{
		{context.Canceled, Busy},
		{context.DeadlineExceeded, Busy},
		{mail.ErrMoved, Moved},
		{mail.ErrBusy, Busy},
		{mail.ErrUnknown, Unknown},
		{mail.ErrOldCommand, NotResumable},
		{ErrNotResumable, NotResumable},
		{ErrGone, Gone},
		{ErrInUse, InUse},
		{ErrMalformed, Violation},
	} {
		if errors.Is(err, e.err) {
			return e.reason
		}
	}
	return Broken
}
