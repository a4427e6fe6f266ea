package state

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/tandemail/tandemail/internal/mail"
)

// OpenFunc gives messages' contents, each with its outcome; safe for concurrent use.
type OpenFunc func(ctx context.Context, msgs []mail.Message) []mail.Opened

// View is mail.View over a snapshot.
type View struct {
	r    Reader
	id   mail.AccountID
	user mail.AccountID // who looks; zero: the owner
	acc  account
	open OpenFunc
	done func()

	// Of the mailbox that was looked at last.
	rightsIn mail.MailboxID
	rights   mail.Rights
}

var _ mail.View = (*View)(nil)

// NewView returns the view of an account in a snapshot that does not change. Its
// Open is open; its Close calls done, once, which lets the snapshot go.
// mail.ErrNoAccount; then, and at any error, done is not called.
func NewView(r Reader, id mail.AccountID, open OpenFunc, done func()) (*View, error) {
	acc, ok, err := readAccount(r, id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, mail.ErrNoAccount
	}
	b, err := r.Get([]byte(slotRecordKey))
	if err != nil {
		return nil, fmt.Errorf("read slot record: %w", err)
	}
	slot, err := decodeSlotRecord(b)
	if err != nil {
		return nil, err
	}
	if slot.forks != acc.slotFork {
		// Forks that the account has not seen happen to this picture of it, just
		// as they will happen to the account.
		o := newOverlay(r)
		s := &store{kv: o}
		t, _ := s.begin(id, 0, 0)
		t.flush()
		if s.err != nil {
			return nil, s.err
		}
		r, acc = o, t.acc
	}
	return &View{r: r, id: id, acc: acc, open: open, done: done}, nil
}

// As makes v the view of a user who need not be the account's owner (mail.Account.As),
// and returns it.
func (v *View) As(user mail.AccountID) *View {
	if v.user, v.rightsIn = user, (mail.MailboxID{}); user == v.id {
		v.user = mail.AccountID{}
	}
	return v
}

// Close implements mail.View.
func (v *View) Close() {
	if v.done != nil {
		v.done()
		v.done = nil
	}
}

// Account implements mail.View.
func (v *View) Account() (mail.AccountInfo, error) {
	return mail.AccountInfo{
		ID: v.id, ModSeq: v.acc.modseq, Fork: v.acc.fork, Frozen: v.acc.frozen, Quota: v.acc.quota,
	}, nil
}

// Mailboxes implements mail.View. Inferiors follow their superior, so a superior
// that is only computed is known when its first inferior comes.
func (v *View) Mailboxes() iter.Seq2[mail.MailboxInfo, error] {
	return func(yield func(mail.MailboxInfo, error) bool) {
		last := ""
		for m, err := range v.names() {
			if err != nil {
				yield(mail.MailboxInfo{}, err)
				return
			}
			info, err := v.Mailbox(m.id)
			if v.foreign() && (errors.Is(err, mail.ErrNoMailbox) || err == nil && !info.Rights.Has(mail.MayLookup)) {
				continue
			}
			for i := range len(m.name) {
				superior := m.name[:i]
				if m.name[i] != mail.Separator[0] || superior == last || isInferior(last, superior) {
					continue
				}
				info, err := v.computed(superior)
				if !yield(info, err) || err != nil {
					return
				}
			}
			last = m.name
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

func (v *View) computed(name string) (mail.MailboxInfo, error) {
	subscribed, err := v.subscribed(name)
	return mail.MailboxInfo{Name: name, NonExistent: true, Subscribed: subscribed}, err
}

// names yields the name map in order.
func (v *View) names() iter.Seq2[named, error] {
	return func(yield func(named, error) bool) {
		from := accountKey(nil, v.id, kindName)
		for k, b := range v.r.Scan(from, prefixEnd(from)) {
			id, err := decodeMailboxID(b)
			if !yield(named{keyName(k[accountPrefix:]), id}, err) || err != nil {
				return
			}
		}
		if err := scanErr(v.r); err != nil {
			yield(named{}, err)
		}
	}
}

// Subscriptions implements mail.View.
func (v *View) Subscriptions() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if v.foreign() {
			return
		}
		from := accountKey(nil, v.id, kindSubscribe)
		for k := range v.r.Scan(from, prefixEnd(from)) {
			if !yield(keyName(k[accountPrefix:]), nil) {
				return
			}
		}
		if err := scanErr(v.r); err != nil {
			yield("", err)
		}
	}
}

func (v *View) subscribed(name string) (bool, error) {
	if v.foreign() {
		return false, nil
	}
	b, err := v.r.Get(nameKey(nil, v.id, kindSubscribe, name))
	return b != nil, storeErr(err, "read subscriptions of", v.id)
}

// Lookup implements mail.View. A computed name has no mailbox.
func (v *View) Lookup(name string) (mail.MailboxInfo, error) {
	b, err := v.r.Get(nameKey(nil, v.id, kindName, canonicalName(name)))
	if err != nil {
		return mail.MailboxInfo{}, storeErr(err, "look up a mailbox of", v.id)
	}
	if b == nil {
		return mail.MailboxInfo{}, mail.ErrNoMailbox
	}
	id, err := decodeMailboxID(b)
	if err != nil {
		return mail.MailboxInfo{}, err
	}
	return v.Mailbox(id)
}

// Mailbox implements mail.View.
func (v *View) Mailbox(id mail.MailboxID) (mail.MailboxInfo, error) {
	m, err := v.mailbox(id)
	if err != nil {
		return mail.MailboxInfo{}, err
	}
	table, err := readKeywords(v.r, v.id, id)
	if err != nil {
		return mail.MailboxInfo{}, err
	}
	info := mail.MailboxInfo{
		ID: id, Name: m.name, UIDValidity: m.uidvalidity, UIDNext: m.uidnext,
		HighestModSeq: m.highest, TombstoneFloor: m.tombstoneFloor,
		Messages: m.messages, Unseen: m.unseen, Deleted: m.deleted, Size: m.size,
		Use: m.use, Keywords: table, Shared: m.shared,
	}
	if info.Rights, err = v.rightsOf(id, &m); err != nil {
		return mail.MailboxInfo{}, err
	}
	if v.foreign() {
		return v.foreignInfo(info, &m)
	}
	info.Subscribed, err = v.subscribed(m.name)
	return info, err
}

// mailbox reads a mailbox's record. One in which the user has no right is none.
func (v *View) mailbox(id mail.MailboxID) (mailbox, error) {
	m, ok, err := readMailbox(v.r, v.id, id)
	if err == nil && !ok {
		err = mail.ErrNoMailbox
	}
	if err == nil && v.foreign() {
		var rights mail.Rights
		if rights, err = v.rightsOf(id, &m); err == nil && rights == 0 {
			err = mail.ErrNoMailbox
		}
	}
	return m, err
}

// Flags implements mail.View.
func (v *View) Flags(id mail.MailboxID, lo, hi mail.UID, since mail.ModSeq) iter.Seq2[mail.MessageFlags, error] {
	return func(yield func(mail.MessageFlags, error) bool) {
		m, err := v.mailbox(id)
		if err != nil {
			yield(mail.MessageFlags{}, err)
			return
		}
		if lo > hi || m.highest <= since {
			return
		}
		first, _ := pageOf(lo)
		last, _ := pageOf(hi)
		var p page
		var own *page // of the user's \Seen, unless he is the owner
		if v.foreign() {
			own = new(page)
		}
		for k, b := range v.r.Scan(pageKey(nil, v.id, id, first), pageKey(nil, v.id, id, last+1)) {
			if max(pageLargest(b), m.modseqFloor) <= since && own == nil {
				continue
			}
			no := be32(k[tailUID:])
			if err := p.decode(b); err != nil {
				yield(mail.MessageFlags{}, storeErr(err, "flags of", id))
				return
			}
			if own != nil {
				if err := v.overlay(id, &m, no, &p, own); err != nil {
					yield(mail.MessageFlags{}, err)
					return
				}
			}
			for rest := p.present & rangeBits(no, mail.UIDRange{Lo: lo, Hi: hi}); rest != 0; rest &= rest - 1 {
				bit := trailingZeros(rest)
				f := mail.MessageFlags{
					UID:    mail.UID(no*pageSize) + mail.UID(bit),
					ModSeq: max(p.modseqs[bit], m.modseqFloor),
				}
				if f.ModSeq <= since {
					continue
				}
				if f.Flags, f.Keywords = p.flags(bit); !yield(f, nil) {
					return
				}
			}
		}
		if err := scanErr(v.r); err != nil {
			yield(mail.MessageFlags{}, err)
		}
	}
}

// Messages implements mail.View.
func (v *View) Messages(id mail.MailboxID, lo, hi mail.UID) iter.Seq2[mail.Message, error] {
	return func(yield func(mail.Message, error) bool) {
		if _, err := v.mailbox(id); err != nil {
			yield(mail.Message{}, err)
			return
		}
		if lo > hi {
			return
		}
		// One octet more than a UID's key is the first key after it.
		end := messageKey(nil, v.id, id, hi).octets(0)
		for k, b := range v.r.Scan(messageKey(nil, v.id, id, lo), end) {
			m, err := ownMessage(b, id, mail.UID(be32(k[tailUID:])))
			if err != nil {
				yield(mail.Message{}, storeErr(err, "message in", id))
				return
			}
			if !yield(m, nil) {
				return
			}
		}
		if err := scanErr(v.r); err != nil {
			yield(mail.Message{}, err)
		}
	}
}

// Message implements mail.View.
func (v *View) Message(id mail.MailboxID, uid mail.UID) (mail.Message, error) {
	if _, err := v.mailbox(id); err != nil {
		return mail.Message{}, err
	}
	b, err := v.r.Get(messageKey(nil, v.id, id, uid))
	if err != nil {
		return mail.Message{}, storeErr(err, "read message in", id)
	}
	if b == nil {
		return mail.Message{}, mail.ErrNoMessage
	}
	m, err := ownMessage(b, id, uid)
	return m, storeErr(err, "read message in", id)
}

// Expunged implements mail.View.
func (v *View) Expunged(id mail.MailboxID, since mail.ModSeq) iter.Seq2[mail.Tombstone, error] {
	return func(yield func(mail.Tombstone, error) bool) {
		m, err := v.mailbox(id)
		if err == nil && since < m.tombstoneFloor {
			err = mail.ErrBelowFloor
		}
		if err != nil {
			yield(mail.Tombstone{}, err)
			return
		}
		if since >= m.highest {
			return
		}
		from := mailboxKey(nil, v.id, kindTombstone, id)
		for k, b := range v.r.Scan(from.uint64(uint64(since)+1), prefixEnd(from)) {
			_, uids, err := decodeTombstone(b)
			if err != nil {
				yield(mail.Tombstone{}, storeErr(err, "tombstone of", id))
				return
			}
			if !yield(mail.Tombstone{ModSeq: tombstoneModSeq(k), UIDs: uids}, nil) {
				return
			}
		}
		if err := scanErr(v.r); err != nil {
			yield(mail.Tombstone{}, err)
		}
	}
}

// Open implements mail.View.
func (v *View) Open(ctx context.Context, msg mail.Message) (mail.Content, error) {
	o := v.open(ctx, []mail.Message{msg})[0]
	return o.Content, o.Err
}

// OpenAll implements mail.View.
func (v *View) OpenAll(ctx context.Context, msgs []mail.Message) []mail.Opened {
	return v.open(ctx, msgs)
}

// Recent implements mail.View.
func (v *View) Recent(id mail.MailboxID, user string) (mail.UID, error) {
	b, err := v.r.Get(mailboxKey(nil, v.id, kindRecent, id).string(user))
	if err != nil || b == nil {
		return 0, storeErr(err, "read recent mark in", id)
	}
	var r reader
	r.start(b)
	uid := mail.UID(r.uint32())
	return uid, r.finish("recent")
}
