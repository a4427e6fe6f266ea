package state

import (
	"encoding/binary"
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
)

// TombstoneAge is how long expunges are listed one by one, at least (30 days).
const TombstoneAge = mail.Instant(30 * 24 * 3600 * 1e6)

// tombstonesPerExpunge is how many old ones each new one pushes out: more than
// one, so that their number falls to what is recent.
const tombstonesPerExpunge = 4

// tombstone records that UIDs left b at at, and forgets what is old enough.
func (t *tx) tombstone(b *box, at mail.ModSeq, uids mail.UIDSet) {
	t.buf.start()
	t.buf.int(int64(t.now))
	t.buf.uids(uids)
	t.set(mailboxKey(t.key, t.id, kindTombstone, b.id).uint64(uint64(at)), t.buf)

	from := mailboxKey(nil, t.id, kindTombstone, b.id)
	var old [][]byte
	t.scan(from, prefixEnd(from), func(k, v []byte) bool {
		when, _, err := decodeTombstone(v)
		if err != nil {
			t.fail(storeErr(err, "tombstone of", b.id))
			return false
		}
		if when+TombstoneAge > t.now {
			return false
		}
		old = append(old, slices.Clone(k))
		return len(old) < tombstonesPerExpunge
	})
	for _, k := range old {
		b.tombstoneFloor = tombstoneModSeq(k)
		t.delete(append(t.key[:0], k...))
	}
}

func tombstoneModSeq(k []byte) mail.ModSeq {
	return mail.ModSeq(binary.BigEndian.Uint64(k[mailboxPrefix:]))
}

func decodeTombstone(b []byte) (when mail.Instant, uids mail.UIDSet, err error) {
	var r reader
	r.start(b)
	when = mail.Instant(r.int())
	uids = r.uids()
	return when, uids, r.finish("tombstone")
}
