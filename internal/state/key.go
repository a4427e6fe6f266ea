package state

import (
	"encoding/binary"

	"github.com/tandemail/tandemail/internal/mail"
)

// The spaces of keys. All keys of the state begin with a lower-case letter;
// whoever keeps it may use other first octets for its own.
const (
	spaceAccount  = 'a' // account id, then a kind: everything of an account
	spaceBody     = 'b' // body id
	spaceLocation = 'l' // body id; of this copy only
	spacePurge    = 'p' // account id: deleted, not yet purged
	spaceSlot     = 's' // the slot's own record; LSN: an operation that was given up
)

// The kinds of keys within an account.
const (
	kindAccount   = 'A'
	kindMetadata  = 'B' // mailbox, zeros for the account; entry
	kindCommand   = 'C' // session, and chunk from the second on
	kindDelivery  = 'D' // transaction, number
	kindExpunged  = 'E' // mailbox, UID: a message that can come back
	kindFlags     = 'F' // mailbox, page
	kindMessage   = 'G' // mailbox, UID
	kindThread    = 'H' // hash of a message id
	kindContent   = 'I' // content key
	kindLatest    = 'J' // HIGHESTMODSEQ of a mailbox, mailbox
	kindKeywords  = 'K' // mailbox
	kindGrants    = 'L' // mailbox
	kindMailbox   = 'M' // mailbox
	kindName      = 'N' // name as nameKey orders it
	kindHistory   = 'O' // MODSEQ of a change
	kindPrivate   = 'P' // mailbox, page, user
	kindRetained  = 'Q' // when it was deleted, what
	kindRecent    = 'R' // mailbox, user
	kindSubscribe = 'S' // name as nameKey orders it
	kindTombstone = 'T' // mailbox, MODSEQ
	kindUse       = 'U' // special use
	kindSeen      = 'V' // mailbox, user
	kindAccess    = 'W' // mailbox, of any account
	kindExpiry    = 'X' // when, what
)

// key is being built; its methods append in place.
type key []byte

func accountKey(dst key, a mail.AccountID, kind byte) key {
	dst = append(dst[:0], spaceAccount)
	dst = append(dst, a[:]...)
	return append(dst, kind)
}

func mailboxKey(dst key, a mail.AccountID, kind byte, m mail.MailboxID) key {
	return append(accountKey(dst, a, kind), m[:]...)
}

func (k key) uint32(v uint32) key  { return binary.BigEndian.AppendUint32(k, v) }
func (k key) uint64(v uint64) key  { return binary.BigEndian.AppendUint64(k, v) }
func (k key) octets(b ...byte) key { return append(k, b...) }
func (k key) string(s string) key  { return append(k, s...) }

func messageKey(dst key, a mail.AccountID, m mail.MailboxID, u mail.UID) key {
	return mailboxKey(dst, a, kindMessage, m).uint32(uint32(u))
}

func pageKey(dst key, a mail.AccountID, m mail.MailboxID, page uint32) key {
	return mailboxKey(dst, a, kindFlags, m).uint32(page)
}

func bodyKey(dst key, space byte, b mail.BodyID) key {
	return append(dst[:0], space).uint64(uint64(b))
}

const (
	accountPrefix = 1 + 16 + 1              // octets before a key's own part
	mailboxPrefix = accountPrefix + 16      // the same for keys of a mailbox
	tailUID       = mailboxPrefix           // where the UID or page of a key begins
	slotRecordKey = string(rune(spaceSlot)) // the first key of its space
)

// AccountRange is where everything of an account is: lo <= key < hi.
func AccountRange(a mail.AccountID) (lo, hi []byte) {
	lo = append([]byte{spaceAccount}, a[:]...)
	return lo, prefixEnd(lo)
}
