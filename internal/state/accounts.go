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
		err := eachAccount(r, mail.AccountID{}, func(id mail.AccountID, acc account) bool {
			return acc.deleted || yield(id, nil)
		})
		if err != nil {
			yield(mail.AccountID{}, err)
		}
	}
}

// Due looks at the next accounts behind after, at most look of them, and returns
// those in which a Purge would find something to do at now: what has expired, in one
// that nobody uses, what was deleted at or before a time, and all that an account has
// which was deleted itself. A frozen one is left as it is.
// last is where it stopped, zero at the end: begin anew.
func Due(r Reader, after mail.AccountID, look int, now, before mail.Instant) (due []mail.AccountID, last mail.AccountID, err error) {
	looked := 0
	var failed error
	err = eachAccount(r, after, func(id mail.AccountID, acc account) bool {
		is, err := acc.due(r, id, now, before)
		if err != nil {
			failed = err
			return false
		}
		if is {
			due = append(due, id)
		}
		looked++
		last = id
		return looked < look
	})
	if err == nil {
		err = failed
	}
	if looked < look {
		last = mail.AccountID{}
	}
	return due, last, err
}

func (a *account) due(r Reader, id mail.AccountID, now, before mail.Instant) (bool, error) {
	switch {
	case a.frozen: // a deleted one only if a Purge of it was given up
		return false, nil
	case a.deleted:
		return a.time <= before, nil
	case a.nextExpiry <= now:
		return true, nil
	}
	at, ok, err := oldest(r, id)
	return ok && at <= before, err
}

// deletedAccounts yields the accounts that are deleted and not yet purged.
func deletedAccounts(r Reader) iter.Seq2[mail.AccountID, error] {
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

// eachAccount calls f with the accounts behind after, until it returns false.
func eachAccount(r Reader, after mail.AccountID, f func(mail.AccountID, account) bool) error {
	lo, end := []byte{spaceAccount}, []byte{spaceAccount + 1}
	if !after.IsZero() {
		_, lo = AccountRange(after)
	}
	for bytes.Compare(lo, end) < 0 {
		id, acc, found, err := firstAccount(r, lo, end)
		if err != nil || !found || !f(id, acc) {
			return err
		}
		_, lo = AccountRange(id)
	}
	return nil
}

func firstAccount(r Reader, lo, end []byte) (id mail.AccountID, acc account, found bool, err error) {
	for k, b := range r.Scan(lo, end) {
		if len(k) != accountPrefix || k[accountPrefix-1] != kindAccount {
			return id, acc, false, fmt.Errorf("account without its record at key %x: %w", k, cluster.ErrDamaged)
		}
		copy(id[:], k[1:])
		acc, err = decodeAccount(b)
		return id, acc, true, err
	}
	return id, acc, false, scanErr(r)
}
