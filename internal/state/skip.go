package state

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// errFork: a history that was not begun would use numbers of another again.
var errFork = errors.New("a fork cannot be given up")

// Skip takes the place of Apply for an operation at at that the store has given
// up. Nothing of it happens, and the accounts that it names are frozen: what made
// it fail may lie in them, and its client asks again. It reads as little of them
// as it can. op is nil if its octets could not be understood by any release.
func Skip(kv KV, at cluster.LSN, op *operation.Operation) (Outcome, error) {
	s := &store{kv: kv, key: make(key, 0, 96), buf: make(writer, 0, 128)}
	if op != nil {
		if _, fork := op.Kind.(*operation.Operation_Fork); fork {
			return Outcome{}, errFork
		}
	}
	for _, id := range Named(op) {
		s.freezeUnseen(id)
	}
	s.set(skipKey(s.key, at), mark)
	if s.err != nil {
		return Outcome{}, fmt.Errorf("skip operation at %d: %w", at, s.err)
	}
	return Outcome{Code: Frozen}, nil
}

// freezeUnseen freezes an account, deleted or not, if there is one, and does
// nothing else to it.
func (s *store) freezeUnseen(id mail.AccountID) {
	b := s.get(accountKey(s.key, id, kindAccount))
	if b == nil {
		return
	}
	acc, err := decodeAccount(b)
	if err != nil {
		s.fail(storeErr(err, "account", id))
		return
	}
	acc.frozen = true
	acc.encode(&s.buf)
	s.set(accountKey(s.key, id, kindAccount), s.buf)
}

// Skipped reports whether this state was made without the operation at lsn.
func Skipped(r Reader, lsn cluster.LSN) (bool, error) {
	b, err := r.Get(skipKey(nil, lsn))
	if err != nil {
		return false, fmt.Errorf("look up the operation given up at %d: %w", lsn, err)
	}
	return b != nil, nil
}

func skipKey(dst key, lsn cluster.LSN) key { return append(dst[:0], spaceSlot).uint64(uint64(lsn)) }

// Named lists the accounts that an operation is about, each once.
func Named(op *operation.Operation) (ids []mail.AccountID) {
	if op == nil {
		return nil
	}
	add := func(b []byte) {
		if id := mail.AccountID(b); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	switch k := op.Kind.(type) {
	case *operation.Operation_Fork:
	case *operation.Operation_Deliver:
		for _, r := range k.Deliver.Recipients {
			add(r.Account)
		}
	case *operation.Operation_SettleDeliveries:
		for _, list := range [][]*operation.DeliveryRef{k.SettleDeliveries.Confirmed, k.SettleDeliveries.InDoubt} {
			for _, r := range list {
				add(r.Account)
			}
		}
	default:
		add(op.Account)
	}
	return ids
}
