package state

import (
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// Seen reports whether Apply answers op, or a part of it, from memory: its command
// id, or a recipient of its delivery, was decided before.
func Seen(r Reader, op *operation.Operation) (bool, error) {
	d, ok := op.Kind.(*operation.Operation_Deliver)
	if !ok {
		return wasSeen(r, mail.AccountID(op.Account), op.Id)
	}
	for _, rcpt := range d.Deliver.Recipients {
		a := mail.AccountID(rcpt.Account)
		b, err := r.Get(deliveryKey(nil, a, deliveryID{mail.TransactionID(d.Deliver.Transaction), rcpt.Number}))
		if err != nil || b != nil {
			return b != nil, storeErr(err, "read delivery to", a)
		}
	}
	return false, nil
}
