package state

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// Sum is a digest. Equal digests mean equal fields, whatever their encoding.
type Sum [sha256.Size]byte

// digestVersion changes with the fields or their order.
const digestVersion = 1

// Digest is over the logical fields of an account: equal before and after a move
// to another store. Left out is what belongs to one copy or one time: where
// bodies are, the ids they have there, results that wait to expire, \Recent, and what
// is derived.
func Digest(r Reader, id mail.AccountID) (Sum, error) {
	acc, ok, err := readAccount(r, id)
	if err != nil {
		return Sum{}, err
	}
	if !ok {
		return Sum{}, mail.ErrNoAccount
	}
	d := newDigester(r)
	d.account(id, acc)
	for _, kind := range []byte{kindName, kindUse, kindMailbox, kindKeywords, kindMessage, kindExpunged, kindFlags, kindTombstone, kindSubscribe, kindThread, kindMetadata, kindGrants, kindPrivate, kindAccess} {
		from := accountKey(nil, id, kind)
		if err := d.kind(kind, from, prefixEnd(from)); err != nil {
			return Sum{}, fmt.Errorf("digest of account %v: %w", id, err)
		}
	}
	return d.sum(), nil
}

// StoreDigest is over all that is replicated of a store: its accounts, bodies by
// their ids, and waiting results. Equal at equal LSNs on all copies of one store.
func StoreDigest(r Reader) (Sum, error) {
	d := newDigester(r)
	for id, err := range Accounts(r) {
		if err != nil {
			return Sum{}, err
		}
		sum, err := Digest(r, id)
		if err != nil {
			return Sum{}, err
		}
		d.w.raw(id[:])
		d.w.raw(sum[:])
		for _, kind := range []byte{kindCommand, kindDelivery, kindContent, kindRecent, kindExpiry, kindRetained, kindHistory} {
			from := accountKey(nil, id, kind)
			d.pairs(from, prefixEnd(from))
		}
	}
	for _, space := range []byte{spaceBody, spacePurge, spaceSlot} {
		d.pairs([]byte{space}, []byte{space + 1})
	}
	if err := scanErr(r); err != nil {
		return Sum{}, err
	}
	return d.sum(), nil
}

type digester struct {
	r Reader
	h hash.Hash
	w writer
	p page
	// held is what a Scan gave: reading bodies in between would end its validity.
	held []byte
}

func newDigester(r Reader) *digester {
	d := &digester{r: r, h: sha256.New()}
	d.w.uint(digestVersion)
	return d
}

func (d *digester) flush() {
	d.h.Write(d.w)
	d.w = d.w[:0]
}

func (d *digester) sum() (s Sum) {
	d.flush()
	d.h.Sum(s[:0])
	return s
}

// pairs adds keys and values as they are: for what has one encoding only.
func (d *digester) pairs(lo, hi []byte) {
	n := uint64(0)
	for k, v := range d.r.Scan(lo, hi) {
		d.w.bytes(k)
		d.w.bytes(v)
		d.flush()
		n++
	}
	d.w.uint(n)
}

func (d *digester) account(id mail.AccountID, a account) {
	d.w.raw(id[:])
	d.w.uint(uint64(a.modseq))
	d.w.uint(uint64(a.uidvalidity))
	d.w.uint(a.fork)
	for _, v := range []int64{a.quota.LimitMessages, a.quota.LimitOctets, a.quota.UsedMessages, a.quota.UsedOctets} {
		d.w.int(v)
	}
	d.w.uint(a.mailboxes)
	d.w.uint(a.subscriptions)
	d.w.raw(a.inbox[:])
}

// kind adds all records of one kind, each with its key and its number at the end.
func (d *digester) kind(kind byte, lo, hi []byte) error {
	n := uint64(0)
	for k, v := range d.r.Scan(lo, hi) {
		n++
		d.w.octet(kind)
		d.w.bytes(k[accountPrefix:])
		d.held = append(d.held[:0], v...)
		if err := d.record(kind, d.held); err != nil {
			return err
		}
		d.flush()
	}
	// What few accounts have makes no difference to those that have none.
	if few := kind == kindGrants || kind == kindPrivate || kind == kindAccess; n > 0 || !few {
		d.w.uint(n)
	}
	return scanErr(d.r)
}

func (d *digester) record(kind byte, v []byte) error {
	switch kind {
	case kindName, kindUse:
		id, err := decodeMailboxID(v)
		d.w.raw(id[:])
		return err
	case kindMailbox:
		return d.mailbox(v)
	case kindKeywords:
		table, err := decodeKeywords(v)
		d.w.uint(uint64(len(table)))
		for _, k := range table {
			d.w.string(k)
		}
		return err
	case kindMessage:
		m, err := decodeMessage(v)
		if err != nil {
			return err
		}
		return d.message(m)
	case kindExpunged:
		return d.expunged(v)
	case kindFlags, kindPrivate:
		return d.flags(v)
	case kindGrants:
		list, err := decodeGrants(v)
		for _, g := range list {
			d.w.raw(g.User[:])
			d.w.uint(uint64(g.Rights))
		}
		return err
	case kindTombstone:
		when, uids, err := decodeTombstone(v)
		d.w.int(int64(when))
		d.w.uids(uids)
		return err
	case kindMetadata:
		value, err := decodeMetadata(v)
		d.w.bytes(value)
		return err
	case kindAccess:
		k, err := decodeAccess(v)
		d.w.raw(k)
		return err
	case kindThread:
		var r reader
		r.start(v)
		id := r.id()
		d.w.raw(id[:])
		return r.finish("thread")
	}
	return nil // a subscription is its key
}

func (d *digester) mailbox(v []byte) error {
	m, err := decodeMailbox(v)
	for _, n := range []uint64{
		uint64(m.uidvalidity), uint64(m.uidnext), uint64(m.highest), uint64(m.modseqFloor), uint64(m.tombstoneFloor),
		uint64(m.messages), uint64(m.unseen), uint64(m.deleted), uint64(m.size),
	} {
		d.w.uint(n)
	}
	if m.hidden {
		d.w.octet(1)
		d.w.int(int64(m.hiddenAt))
		d.w.uint(uint64(m.hiddenBy))
	}
	d.w.string(string(m.use))
	d.w.string(m.name)
	return err
}

// message adds the hash of the octets in place of the id that this store gave them.
func (d *digester) message(m mail.Message) error {
	d.w.int(m.Size)
	d.w.int(int64(m.InternalDate))
	d.w.int(int64(m.SaveDate))
	d.w.raw(m.EmailID[:])
	d.w.raw(m.ThreadID[:])
	d.w.uint(uint64(m.Created))
	d.w.bytes(m.Prefix)
	for _, e := range m.Extents {
		body, ok, err := ReadBody(d.r, e.Body)
		if err == nil && !ok {
			err = bodyErr(fmt.Errorf("referred to but not recorded: %w", cluster.ErrDamaged), e.Body)
		}
		if err != nil {
			return err
		}
		d.w.raw(body.SHA256[:])
		d.w.int(body.Length)
		d.w.int(e.Offset)
		d.w.int(e.Length)
	}
	if m.UIDL != "" {
		d.w.string(m.UIDL)
	}
	return nil
}

// expunged adds a message that can come back.
func (d *digester) expunged(v []byte) error {
	r, m, err := decodeRemoved(v)
	if err != nil {
		return err
	}
	d.w.int(int64(r.at))
	d.w.uint(uint64(r.by))
	d.w.octet(byte(r.flags))
	for _, word := range r.words {
		d.w.fixed(word)
	}
	return d.message(m)
}

// flags adds each message's; the page's own figures follow from them.
func (d *digester) flags(v []byte) error {
	if err := d.p.decode(v); err != nil {
		return err
	}
	for rest := d.p.present; rest != 0; rest &= rest - 1 {
		bit := trailingZeros(rest)
		f, k := d.p.flags(bit)
		d.w.octet(byte(bit))
		d.w.octet(byte(f))
		for _, word := range slices.All(k[:]) {
			d.w.fixed(word)
		}
		d.w.uint(uint64(d.p.modseqs[bit]))
	}
	return nil
}
