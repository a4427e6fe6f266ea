package remote

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// code is an error on the wire. Append only.
type code uint16

// The codes that are no word of package mail.
const (
	codeOther  code = 0  // temporary, of no kind that anybody acts on
	codeClosed code = 1  // what the question is about was closed: it lay idle, or lived too long
	codeNotNow code = 2  // a limit of this protocol is reached
	codeBroken code = 3  // the caller broke this protocol, or speaks another version
	firstMail  code = 16 // from here on: words of package mail
	// firstRefusal and those after it are decided by the state.
	firstRefusal = firstMail + 8
)

var (
	errClosed = fmt.Errorf("closed since it lay idle or was open for too long: %w", mail.ErrBusy)
	errNotNow = fmt.Errorf("too much is open at the account's master: %w", mail.ErrBusy)
)

// codes is the one table of errors that are the same at both ends, first match first.
var codes = []struct {
	code code
	err  error
}{
	{codeClosed, errClosed},
	{codeNotNow, errNotNow},
	{codeBroken, errProtocol},
	{firstMail + 0, mail.ErrMoved},
	{firstMail + 1, mail.ErrBusy},
	{firstMail + 2, mail.ErrUnknown},
	{firstMail + 3, mail.ErrOldCommand},
	{firstMail + 4, mail.ErrFrozen},
	{firstMail + 5, mail.ErrFull},
	{firstMail + 6, mail.ErrTooLarge},
	{firstMail + 7, mail.ErrCorrupt},
	{firstMail + 8, mail.ErrNoAccount},
	{firstMail + 9, mail.ErrNoMailbox},
	{firstMail + 10, mail.ErrNoMessage},
	{firstMail + 11, mail.ErrExists},
	{firstMail + 12, mail.ErrBadName},
	{firstMail + 13, mail.ErrHasChildren},
	{firstMail + 14, mail.ErrCannot},
	{firstMail + 15, mail.ErrUseTaken},
	{firstMail + 16, mail.ErrOverQuota},
	{firstMail + 17, mail.ErrLimit},
	{firstMail + 18, mail.ErrBelowFloor},
	{firstMail + 19, mail.ErrNoPerm},
}

// ends maps what a master says of itself to the words above.
var ends = []struct {
	err  error
	code code
}{
	{cluster.ErrNotMaster, firstMail + 0},
	{cluster.ErrBehind, firstMail + 0},
	{cluster.ErrStopped, firstMail + 0},
	{cluster.ErrUnknown, firstMail + 2},
	{cluster.ErrFull, firstMail + 5},
	{context.Canceled, firstMail + 1},
	{context.DeadlineExceeded, firstMail + 1},
}

// codeOf is the code for an error of an account.
func codeOf(err error) code {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	for _, e := range ends {
		if errors.Is(err, e.err) {
			return e.code
		}
	}
	return codeOther
}

// codeOfDo is codeOf for a change: one that was given up while it ran may have happened.
func codeOfDo(err error) code {
	if c := codeOf(err); c != firstMail+1 || errors.Is(err, mail.ErrBusy) {
		return c
	}
	return codeOf(mail.ErrUnknown)
}

// RemoteError is what the other end said. errors.Is finds the word of package mail in it.
type RemoteError struct {
	Text string
	kind error // nil: of no kind
}

// Error implements error.
func (e *RemoteError) Error() string { return "account's master: " + e.Text }

// Unwrap gives the kind.
func (e *RemoteError) Unwrap() error { return e.kind }

// errorOf is the error for a code, of no kind if this release does not know it.
func errorOf(c code, text string) error {
	for _, known := range codes {
		if known.code == c {
			return &RemoteError{text, known.err}
		}
	}
	return &RemoteError{Text: text}
}
