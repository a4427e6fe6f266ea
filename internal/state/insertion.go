package state

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// Insertion is the transaction under which what an operation inserts is delivered
// again: a delivery's own, else one that follows from the command's id. ok is false
// for operations that insert nothing. at tells operations without an id apart.
func Insertion(at cluster.LSN, op *operation.Operation) (id mail.TransactionID, ok bool) {
	switch k := op.Kind.(type) {
	case *operation.Operation_Deliver:
		return mail.TransactionID(k.Deliver.Transaction), true
	case *operation.Operation_Append, *operation.Operation_Copy:
	default:
		return id, false
	}
	b := []byte("tandemail inserted\n")
	if c := op.Id; c != nil {
		b = append(b, c.Session...)
		b = binary.BigEndian.AppendUint64(b, c.Number)
		b = binary.BigEndian.AppendUint32(b, c.Chunk)
	} else {
		b = append(b, op.Account...)
		b = binary.BigEndian.AppendUint64(b, uint64(at))
		b = binary.BigEndian.AppendUint64(b, uint64(op.Time))
	}
	sum := sha256.Sum256(b)
	return mail.TransactionID(sum[:16]), true
}

// Delivered reports whether the state knows that a delivery was made. It forgets after
// DeliveryAge.
func Delivered(r Reader, d DeliveryRef) (bool, error) {
	b, err := r.Get(deliveryKey(nil, d.Account, deliveryID{d.Transaction, d.Number}))
	if err != nil || b == nil {
		return false, err
	}
	known, err := decodeDelivery(b)
	return known.code == Done, err
}
