package slot

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// Fault is an operation that this copy cannot apply, or with LSN 0 a state that it
// cannot go on from.
type Fault struct {
	LSN      cluster.LSN      `json:"lsn"`
	Kind     string           `json:"kind"` // of the operation; "unreadable"
	Accounts []mail.AccountID `json:"accounts,omitempty"`
	// Newer: a newer release wrote it, and applies it.
	Newer  bool   `json:"newer,omitempty"`
	Reason string `json:"reason"` // one line
}

// unreadable is the kind of an operation that cannot be decoded.
const unreadable = "unreadable"

// badOperation: the state machine cannot apply an operation. The batches before
// its own are applied, and the index is sound.
type badOperation struct {
	Fault
	err   error
	stack []byte // of a panic
}

func (b *badOperation) Error() string {
	return fmt.Sprintf("%s operation at %d cannot be applied: %s", b.Kind, b.LSN, b.Reason)
}

func (b *badOperation) Unwrap() error { return b.err }

// newBad describes the operation in rec.
func newBad(lsn cluster.LSN, rec journal.Record, err error) *badOperation {
	b := &badOperation{err: err}
	reason, _, _ := strings.Cut(err.Error(), "\n")
	reason = strings.TrimPrefix(reason, errOperation.Error()+": ")
	b.Fault = Fault{LSN: lsn, Kind: unreadable, Newer: errors.Is(err, cluster.ErrNewer), Reason: reason}
	if op, err := operation.Decode(rec.Payload); err == nil {
		b.Kind, b.Accounts = kindOf(op), state.Named(op)
	}
	return b
}

// kindOf is the name of an operation's kind: "Deliver".
func kindOf(op *operation.Operation) string {
	return strings.TrimPrefix(fmt.Sprintf("%T", op.Kind), "*operation.Operation_")
}

// faultOf finds the operation that err is about, or that all of the data needs a
// newer release; nil if it is about neither.
func faultOf(err error) *Fault {
	var bad *badOperation
	switch {
	case errors.As(err, &bad):
		return &bad.Fault
	case errors.Is(err, cluster.ErrNewer):
		return &Fault{Newer: true, Reason: err.Error()}
	}
	return nil
}

// withStack is err for the log.
func withStack(err error) string {
	var bad *badOperation
	if errors.As(err, &bad) && bad.stack != nil {
		return fmt.Sprintf("%v\n%s", err, bad.stack)
	}
	return err.Error()
}
