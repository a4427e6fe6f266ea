package state

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// Whatever is kept for a time has an entry in its account's expiry queue. Every
// operation of the account removes a few that are due, a Purge many: the work of
// one operation is bounded, and the same on every copy.
const (
	expirePerOperation = 4
	purgeUnits         = mail.MaxTouched // keys or messages of one Purge
	purgeEntries       = 1_000           // of either queue
)

// What an entry of the queue is about.
const (
	expireCommand  = 'C' // session
	expireDelivery = 'D' // transaction, number
)

// enqueue has something looked at again when its time has come.
func (t *tx) enqueue(when mail.Instant, what byte, id []byte) {
	t.set(accountKey(t.key, t.id, kindExpiry).uint64(uint64(when)).octets(what).octets(id...), mark)
	if when < t.acc.nextExpiry {
		t.acc.nextExpiry = when
		t.dirty = true
	}
}

func (t *tx) enqueueDelivery(when mail.Instant, id deliveryID) {
	var b [20]byte
	copy(b[:], id.transaction[:])
	binary.BigEndian.PutUint32(b[16:], id.number)
	t.enqueue(when, expireDelivery, b[:])
}

// expire handles up to limit entries that are due; true when others are left.
func (t *tx) expire(limit int) (more bool) {
	if t.now < t.acc.nextExpiry {
		return false
	}
	from := accountKey(nil, t.id, kindExpiry)
	var due [][]byte
	next := noExpiry
	t.scan(from, prefixEnd(from), func(k, _ []byte) bool {
		when := expiryTime(k)
		if when > t.now || len(due) == limit {
			next, more = when, when <= t.now
			return false
		}
		due = append(due, slices.Clone(k))
		return true
	})
	t.acc.nextExpiry, t.dirty = next, true
	for _, k := range due {
		t.delete(append(t.key[:0], k...))
		t.expireOne(k[accountPrefix+8], k[accountPrefix+9:])
	}
	return more
}

func expiryTime(k []byte) mail.Instant {
	return mail.Instant(binary.BigEndian.Uint64(k[accountPrefix:]))
}

func (t *tx) expireOne(what byte, id []byte) {
	switch what {
	case expireCommand:
		t.forgetCommand(id)
	case expireDelivery:
		t.forgetDelivery(deliveryID{mail.TransactionID(id[:16]), be32(id[16:])})
	default:
		t.fail(fmt.Errorf("expiry entry of kind %q: %w", what, cluster.ErrNewer))
	}
}

// forgetDelivery drops a delivery's record; one whose octets are not settled stays
// as long as they may be in doubt.
func (t *tx) forgetDelivery(id deliveryID) {
	b := t.get(deliveryKey(t.key, t.id, id))
	if b == nil {
		return
	}
	d, err := decodeDelivery(b)
	if err != nil {
		t.fail(err)
		return
	}
	if len(d.contentKey) > 0 {
		content := [32]byte(d.contentKey)
		unsettled := slices.ContainsFunc(t.marks(content[:]), func(m contentMark) bool { return m.id == id })
		if end := d.time + DoubtAge; unsettled && t.now < end {
			t.enqueueDelivery(end, id)
			return
		}
		t.settleMark(content, id, false)
	}
	t.delete(deliveryKey(t.key, t.id, id))
}
