package imapd

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// errGone: the selected mailbox was deleted.
var errGone = session.ErrGone

// errNoTarget: the mailbox that messages should go to does not exist.
var errNoTarget = fmt.Errorf("target: %w", mail.ErrNoMailbox)

// errNumber is a message number that the client cannot have been told.
var errNumber = errors.New("no such message number")

// errSortSize: too much would have to be compared.
var errSortSize = fmt.Errorf("keys of more than %d octets: %w", maxSortOctets, mail.ErrLimit)

// errThreadSize: too many messages.
var errThreadSize = fmt.Errorf("more than %d messages and references: %w", maxThreadNodes, mail.ErrLimit)

// lostError is one of the sink, or of a literal that broke off: the client has an
// unfinished response.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// refusals is what errors of the account become: the first entry that matches.
var refusals = []struct {
	err    error
	answer answer
}{
	{errAway, no(imapwire.CodeUnavailable, "Mailboxes of this user cannot be reached now")},
	{errNumber, bad("No such message number")},
	{errUIDRequired, uidRequired},
	{errNoTarget, no(imapwire.CodeTryCreate, "No such mailbox")},
	{mail.ErrNoMailbox, no(imapwire.CodeNonExistent, "No such mailbox")},
	{mail.ErrNoMessage, no(imapwire.CodeExpungeIssued, "Some of the messages have been deleted")},
	{mail.ErrExists, no(imapwire.CodeAlreadyExists, "Mailbox already exists")},
	{mail.ErrBadName, no(imapwire.CodeCannot, "Not a valid mailbox name")},
	{mail.ErrHasChildren, no(imapwire.CodeHasChildren, "Only names below this one are mailboxes")},
	{mail.ErrCannot, no(imapwire.CodeCannot, "Not possible with this mailbox")},
	{mail.ErrUseTaken, no(imapwire.CodeUseAttr, "Another mailbox has this special use")},
	{mail.ErrOverQuota, no(imapwire.CodeOverQuota, "Over quota")},
	{mail.ErrLimit, no(imapwire.CodeLimit, "Over a limit of the server")},
	{mail.ErrTooLarge, no(imapwire.CodeTooBig, "Message is too large")},
	{mail.ErrFrozen, no(imapwire.CodeInUse, "Account takes no changes for the moment")},
	{mail.ErrFull, no(imapwire.CodeUnavailable, "Server has no space for new messages")},
	{errNoRoot, no(imapwire.CodeNonExistent, "No such quota root")},
	{errNoResource, no(imapwire.CodeCannot, "No such resource")},
	{errNotAllowed, no(imapwire.CodeNoPerm, "Not allowed")},
	{mail.ErrNoPerm, no(imapwire.CodeNoPerm, "No right to do that")},
	{errNoUser, no(imapwire.CodeCannot, "No such user")},
	{errUnknownCTE, no(imapwire.CodeUnknownCTE, "Transfer encoding is not supported")},
	{mail.ErrCorrupt, no(imapwire.CodeCorruption, "A stored message is damaged")},
}

var uidRequired = answer{status: imapwire.BAD, code: imapwire.CodeUIDRequired, text: "Message numbers are not in use"}

var temporary = no(imapwire.CodeUnavailable, "Temporary failure, try again later")

// errorAnswer is the answer to a command that failed with err, or err itself if
// the session cannot go on here. An unknown error is temporary: the client gets
// one sentence, the log the chain.
func (s *Session) errorAnswer(err error) (answer, error) {
	if ReasonOf(err) != session.Broken {
		return answer{}, err
	}
	if _, lost := errors.AsType[*lostError](err); lost {
		return answer{}, err
	}
	if url, bad := errors.AsType[*urlError](err); bad {
		return url.answer(), nil
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r.answer, nil
		}
	}
	s.log.Error("command failed", "command", s.name, "err", err)
	return temporary, nil
}

// ReasonOf says why Execute failed: session.Broken if there is no better reason,
// or when the sink or the context ended.
func ReasonOf(err error) session.Reason {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return session.Busy
	case errors.Is(err, mail.ErrMoved):
		return session.Moved
	case errors.Is(err, mail.ErrBusy):
		return session.Busy
	case errors.Is(err, mail.ErrUnknown):
		return session.Unknown
	case errors.Is(err, mail.ErrOldCommand), errors.Is(err, ErrNotResumable):
		return session.NotResumable
	case errors.Is(err, errGone):
		return session.Gone
	}
	return session.Broken
}
