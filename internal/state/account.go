package state

import (
	"fmt"

	"github.com/tandemail/tandemail/internal/mail"
)

// account is the record every operation of an account reads first.
type account struct {
	frozen  bool
	deleted bool // hidden from everything but Purge and UndeleteAccount
	purging bool // deleted, and parts of it are gone

	modseq      mail.ModSeq
	uidvalidity mail.UIDValidity // the highest ever given
	fork        uint64           // histories this account has begun
	slotFork    uint64           // the slot's count of forks at the last of them
	time        mail.Instant     // of the latest change: time never goes back within an account

	quota         mail.Quota
	mailboxes     uint64 // hidden ones excepted
	subscriptions uint64
	inbox         mail.MailboxID
	// nextExpiry is the earliest time of the expiry queue, noExpiry when it is
	// empty: most operations need not look.
	nextExpiry mail.Instant
	history    uint64      // octets of kindHistory, by deedCost
	forgotten  mail.ModSeq // the history lacks what happened up to here, or some of it
	metadata   metadataUse
}

const noExpiry = mail.Instant(1<<63 - 1)

const (
	accountFrozen = 1 << iota
	accountDeleted
	accountPurging
)

func (a *account) encode(w *writer) {
	w.startAs(thirdVersion)
	var flags byte
	if a.frozen {
		flags |= accountFrozen
	}
	if a.deleted {
		flags |= accountDeleted
	}
	if a.purging {
		flags |= accountPurging
	}
	w.octet(flags)
	w.uint(uint64(a.modseq))
	w.uint(uint64(a.uidvalidity))
	w.uint(a.fork)
	w.uint(a.slotFork)
	w.int(int64(a.time))
	w.int(a.quota.LimitMessages)
	w.int(a.quota.LimitOctets)
	w.int(a.quota.UsedMessages)
	w.int(a.quota.UsedOctets)
	w.uint(a.mailboxes)
	w.uint(a.subscriptions)
	w.raw(a.inbox[:])
	w.int(int64(a.nextExpiry))
	w.uint(a.history)
	w.uint(uint64(a.forgotten))
	w.uint(a.metadata.entries)
	w.uint(a.metadata.octets)
}

func decodeAccount(b []byte) (a account, err error) {
	var r reader
	version := r.startUpTo(b, thirdVersion)
	flags := r.octet()
	if flags&^(accountFrozen|accountDeleted|accountPurging) != 0 {
		r.fail()
	}
	a.frozen, a.deleted, a.purging = flags&accountFrozen != 0, flags&accountDeleted != 0, flags&accountPurging != 0
	a.modseq = mail.ModSeq(r.uint())
	a.uidvalidity = mail.UIDValidity(r.uint32())
	a.fork = r.uint()
	a.slotFork = r.uint()
	a.time = mail.Instant(r.int())
	a.quota.LimitMessages = r.int()
	a.quota.LimitOctets = r.int()
	a.quota.UsedMessages = r.int()
	a.quota.UsedOctets = r.int()
	a.mailboxes = r.uint()
	a.subscriptions = r.uint()
	a.inbox = r.id()
	a.nextExpiry = mail.Instant(r.int())
	if version >= secondVersion {
		a.history = r.uint()
	}
	if version >= thirdVersion {
		a.forgotten = mail.ModSeq(r.uint())
		a.metadata = metadataUse{r.uint(), r.uint()}
	}
	return a, r.finish("account")
}

// readAccount returns the account's record; false when there is none, or it is deleted.
func readAccount(r Reader, id mail.AccountID) (a account, ok bool, err error) {
	b, err := r.Get(accountKey(nil, id, kindAccount))
	if err != nil || b == nil {
		return a, false, storeErr(err, "read account", id)
	}
	a, err = decodeAccount(b)
	return a, err == nil && !a.deleted, storeErr(err, "read account", id)
}

func storeErr(err error, what string, id fmt.Stringer) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %v: %w", what, id, err)
}

// fits reports whether n more messages of that many octets are within the quota.
func (a *account) fits(n, octets int64) bool {
	q := a.quota
	return (q.LimitMessages == 0 || q.UsedMessages+n <= q.LimitMessages) &&
		(q.LimitOctets == 0 || q.UsedOctets+octets <= q.LimitOctets)
}

// newUIDValidity gives one that this account never had.
func (a *account) newUIDValidity(now mail.Instant) mail.UIDValidity {
	a.uidvalidity = max(secondsOf(now), a.uidvalidity+1)
	return a.uidvalidity
}

// skipUIDValidities keeps clear of those that another history gave until now.
func (a *account) skipUIDValidities(n mail.UIDValidity, now mail.Instant) {
	a.uidvalidity = max(secondsOf(now), a.uidvalidity) + n
}

func secondsOf(i mail.Instant) mail.UIDValidity {
	return mail.UIDValidity(min(max(int64(i)/1e6, 1), 1<<32-1))
}
