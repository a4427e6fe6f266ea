package state

import (
	"bytes"
	"fmt"
	"iter"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// Accounts yields the accounts of a store in order of their ids, those deleted
// but not yet purged excepted.
func Accounts(r Reader) iter.Seq2[mail.AccountID, error] {
	return func(yield func(mail.AccountID, error) bool) {
		lo, end := []byte{spaceAccount}, []byte{spaceAccount + 1}
		for {
			var id mail.AccountID
			found, deleted := false, false
			var err error
			for k, b := range r.Scan(lo, end) {
				found = true
				var acc account
				if len(k) != accountPrefix || k[accountPrefix-1] != kindAccount {
					err = fmt.Errorf("account without its record at key %x: %w", k, cluster.ErrDamaged)
				} else {
					acc, err = decodeAccount(b)
				}
				copy(id[:], k[1:])
				deleted = acc.deleted
				break
			}
			if err == nil {
				err = scanErr(r)
			}
			if err != nil {
				yield(id, err)
				return
			}
			if !found || !deleted && !yield(id, nil) {
				return
			}
			if _, lo = AccountRange(id); bytes.Compare(lo, end) >= 0 {
				return
			}
		}
	}
}

// Deleted yields the accounts that are deleted and not yet purged: each wants
// Purge operations until one has no more to do.
func Deleted(r Reader) iter.Seq2[mail.AccountID, error] {
	return func(yield func(mail.AccountID, error) bool) {
		for k := range r.Scan([]byte{spacePurge}, []byte{spacePurge + 1}) {
			if !yield(mail.AccountID(k[1:]), nil) {
				return
			}
		}
		if err := scanErr(r); err != nil {
			yield(mail.AccountID{}, err)
		}
	}
}

// Due reports whether a Purge of an account would find something that is due at
// now. Accounts that are used see to it themselves.
func Due(r Reader, id mail.AccountID, now mail.Instant) (bool, error) {
	acc, ok, err := readAccount(r, id)
	return ok && acc.nextExpiry <= now, err
}
