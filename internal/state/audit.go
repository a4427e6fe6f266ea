package state

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// Audit counts everything again and compares it with what the records say: the
// invariants of this package for a whole store. It reads all of it, so it is for
// tests, for the simulator and for an operator who asks. The error tells at most
// a few of the contradictions; each is cluster.ErrDamaged.
func Audit(r Reader) error {
	a := &auditor{r: r, references: map[mail.BodyID]uint64{}}
	for id, err := range Accounts(r) {
		if err != nil {
			return err
		}
		if err := a.account(id); err != nil {
			return err
		}
	}
	for _, err := range deletedAccounts(r) {
		// What is being purged still refers to bodies, in part: they cannot be counted.
		return errors.Join(err, a.verdict())
	}
	if err := a.bodies(); err != nil {
		return err
	}
	return a.verdict()
}

const maxAuditFindings = 10

type auditor struct {
	r          Reader
	references map[mail.BodyID]uint64
	found      []error
}

func (a *auditor) verdict() error { return errors.Join(a.found...) }

func (a *auditor) wrong(format string, args ...any) {
	if len(a.found) < maxAuditFindings {
		a.found = append(a.found, fmt.Errorf(format+": %w", append(args, cluster.ErrDamaged)...))
	}
}

func (a *auditor) account(id mail.AccountID) error {
	acc, _, err := readAccount(a.r, id)
	if err != nil {
		return err
	}
	var total mail.Quota
	shown := uint64(0)
	boxes := map[mail.MailboxID]mailbox{} // that are not hidden
	hidden := map[mail.MailboxID]bool{}
	for _, m := range a.mailboxes(id) {
		rec, err := a.mailbox(id, m, acc)
		if err != nil {
			return err
		}
		if rec.hidden {
			hidden[m] = true
			continue
		}
		shown++
		boxes[m] = rec
		total.UsedMessages += int64(rec.messages)
		total.UsedOctets += rec.size
		if got := a.idAt(nameKey(nil, id, kindName, rec.name)); got != m {
			a.wrong("account %v: name %q of mailbox %v leads to %v", id, rec.name, m, got)
		}
		if got := a.idAt(accountKey(nil, id, kindUse).string(string(rec.use))); rec.use != "" && got != m {
			a.wrong("account %v: use %s of mailbox %v leads to %v", id, rec.use, m, got)
		}
	}
	if q := acc.quota; q.UsedMessages != total.UsedMessages || q.UsedOctets != total.UsedOctets {
		a.wrong("account %v: uses %d messages, %d octets by its record, %d, %d by counting",
			id, q.UsedMessages, q.UsedOctets, total.UsedMessages, total.UsedOctets)
	}
	if names := a.count(id, kindName); shown != acc.mailboxes || names != shown {
		a.wrong("account %v: %d mailboxes by its record, %d by counting, %d names", id, acc.mailboxes, shown, names)
	}
	if n := a.count(id, kindSubscribe); n != acc.subscriptions {
		a.wrong("account %v: %d subscriptions by its record, %d by counting", id, acc.subscriptions, n)
	}
	if err := errors.Join(a.metadata(id, acc, boxes), a.latest(id, boxes), a.access(id, hidden)); err != nil {
		return err
	}
	a.expiry(id, acc)
	if err := a.private(id); err != nil {
		return err
	}
	if err := a.expunged(id); err != nil {
		return err
	}
	return a.history(id, acc)
}

// expiry: the account knows the first time in its queue, or an earlier one.
func (a *auditor) expiry(id mail.AccountID, acc account) {
	from := accountKey(nil, id, kindExpiry)
	for k := range a.r.Scan(from, prefixEnd(from)) {
		if when := expiryTime(k); acc.nextExpiry > when {
			a.wrong("account %v: next expiry %d by its record, %d by its queue", id, acc.nextExpiry, when)
		}
		return
	}
}

// expunged counts the references of what can come back: messages that are not there, of
// a mailbox that is, perhaps hidden.
func (a *auditor) expunged(id mail.AccountID) error {
	var list []ExpungedMessage
	for m, err := range Expunged(a.r, id, mail.MailboxID{}) {
		if err != nil {
			return err
		}
		for _, e := range m.Extents {
			a.references[e.Body]++
		}
		list = append(list, m)
	}
	for _, m := range list {
		there, err := a.r.Get(messageKey(nil, id, m.Mailbox, m.UID))
		if err != nil {
			return err
		}
		if box, _, err := readMailbox(a.r, id, m.Mailbox); err != nil || there != nil || m.UID >= box.uidnext {
			a.wrong("mailbox %v: UID %d was expunged, yet it is there, or above UIDNEXT %d", m.Mailbox, m.UID, box.uidnext)
		}
	}
	return nil
}

func (a *auditor) history(id mail.AccountID, acc account) error {
	octets := uint64(0)
	from := accountKey(nil, id, kindHistory)
	for _, v := range a.r.Scan(from, prefixEnd(from)) {
		octets += deedCost(v)
	}
	if octets != acc.history || octets > MaxHistory {
		a.wrong("account %v: history of %d octets by its record, %d by counting", id, acc.history, octets)
	}
	return scanErr(a.r)
}

func (a *auditor) mailboxes(id mail.AccountID) (ids []mail.MailboxID) {
	from := accountKey(nil, id, kindMailbox)
	for k := range a.r.Scan(from, prefixEnd(from)) {
		ids = append(ids, mail.MailboxID(k[accountPrefix:]))
	}
	return ids
}

func (a *auditor) count(id mail.AccountID, kind byte) (n uint64) {
	from := accountKey(nil, id, kind)
	for range a.r.Scan(from, prefixEnd(from)) {
		n++
	}
	return n
}

func (a *auditor) idAt(k key) (id mail.MailboxID) {
	if b, err := a.r.Get(k); err == nil && b != nil {
		id, _ = decodeMailboxID(b)
	}
	return id
}

// mailbox compares a mailbox's record with its messages and flags.
func (a *auditor) mailbox(id mail.AccountID, m mail.MailboxID, acc account) (mailbox, error) {
	b, err := a.r.Get(mailboxKey(nil, id, kindMailbox, m))
	if err != nil {
		return mailbox{}, storeErr(err, "read mailbox", m)
	}
	rec, err := decodeMailbox(b)
	if err != nil {
		return rec, storeErr(err, "read mailbox", m)
	}
	table, err := readKeywords(a.r, id, m)
	if err != nil {
		return rec, err
	}
	counted := box{}
	flagged, err := a.pages(id, m, &counted, rec, len(table))
	if err != nil {
		return rec, err
	}
	stored, err := a.messages(id, m, &counted, acc)
	if err != nil {
		return rec, err
	}
	if !slices.Equal(flagged, stored) {
		// While a hidden mailbox is dropped its messages go before their flags.
		if !rec.hidden {
			a.wrong("mailbox %v: flags of %d messages, records of %d", m, len(flagged), len(stored))
		}
		return rec, nil
	}
	if c := counted; !rec.hidden && (c.messages != rec.messages || c.unseen != rec.unseen || c.deleted != rec.deleted || c.size != rec.size) {
		a.wrong("mailbox %v: counters %d/%d/%d/%d by its record, %d/%d/%d/%d by counting", m,
			rec.messages, rec.unseen, rec.deleted, rec.size, c.messages, c.unseen, c.deleted, c.size)
	}
	if err := a.grants(id, m, rec); err != nil {
		return rec, err
	}
	if rec.highest > acc.modseq || rec.uidvalidity > acc.uidvalidity || rec.tombstoneFloor > rec.highest {
		a.wrong("mailbox %v: HIGHESTMODSEQ %d, UIDVALIDITY %d, floor %d above its account's", m, rec.highest, rec.uidvalidity, rec.tombstoneFloor)
	}
	return rec, nil
}

func (a *auditor) pages(id mail.AccountID, m mail.MailboxID, c *box, rec mailbox, words int) (uids []mail.UID, err error) {
	var p page
	from := mailboxKey(nil, id, kindFlags, m)
	for k, b := range a.r.Scan(from, prefixEnd(from)) {
		if err := p.decode(b); err != nil {
			return nil, storeErr(err, "flags of", m)
		}
		no := be32(k[tailUID:])
		if n := len(p.keywords); p.present == 0 || n > 0 && int(p.keywords[n-1].place) >= words {
			a.wrong("mailbox %v: page %d is empty or has unknown keywords", m, no)
		}
		for rest := p.present; rest != 0; rest &= rest - 1 {
			bit := bits.TrailingZeros64(rest)
			f, _ := p.flags(bit)
			c.count(f, 1)
			uid := mail.UID(no*pageSize) + mail.UID(bit)
			uids = append(uids, uid)
			if uid >= rec.uidnext || p.modseqs[bit] > rec.highest || p.modseqs[bit] > p.largest {
				a.wrong("mailbox %v: UID %d at MODSEQ %d, but UIDNEXT %d, HIGHESTMODSEQ %d", m, uid, p.modseqs[bit], rec.uidnext, rec.highest)
			}
		}
	}
	return uids, scanErr(a.r)
}

func (a *auditor) messages(id mail.AccountID, m mail.MailboxID, c *box, acc account) (uids []mail.UID, err error) {
	from := mailboxKey(nil, id, kindMessage, m)
	for k, b := range a.r.Scan(from, prefixEnd(from)) {
		msg, err := decodeMessage(b)
		if err != nil {
			return nil, storeErr(err, "message in", m)
		}
		uid, size := mail.UID(be32(k[tailUID:])), int64(len(msg.Prefix))
		for _, e := range msg.Extents {
			size += e.Length
			a.references[e.Body]++
		}
		if size != msg.Size || msg.Created > acc.modseq {
			a.wrong("mailbox %v: UID %d of %d octets has parts of %d, created at %d", m, uid, msg.Size, size, msg.Created)
		}
		c.size += size
		uids = append(uids, uid)
	}
	return uids, scanErr(a.r)
}

// bodies compares references with what the messages said.
func (a *auditor) bodies() error {
	var w writer
	for k, b := range a.r.Scan([]byte{spaceBody}, []byte{spaceBody + 1}) {
		rec, err := decodeBody(b)
		if err != nil {
			return err
		}
		var r reader
		r.b = k[1:]
		id := mail.BodyID(r.fixed())
		if a.references[id] != rec.References {
			a.wrong("body %d: %d references by its record, %d by counting", id, rec.References, a.references[id])
		}
		delete(a.references, id)
		w.fixed(uint64(id))
	}
	if err := scanErr(a.r); err != nil {
		return err
	}
	for id := range a.references {
		a.wrong("body %d: referred to but not recorded", id)
	}
	located := 0
	for k := range a.r.Scan([]byte{spaceLocation}, []byte{spaceLocation + 1}) {
		if at := located * 8; at+8 > len(w) || string(w[at:at+8]) != string(k[1:]) {
			a.wrong("location of body %x without a record, or the other way round", k[1:])
			break
		}
		located++
	}
	if located*8 != len(w) {
		a.wrong("%d locations for %d bodies", located, len(w)/8)
	}
	return scanErr(a.r)
}
