package state

import (
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
)

// \Seen of users other than the owner is kept beside a mailbox's flags: a page of the
// same UIDs for each user who ever set it there, with \Seen alone and with a MODSEQ for
// each message whose \Seen he changed. What is in no page is not seen. Beside them each
// user has a count of what he has seen, so that what is left is known without looking.
//
// A mailbox says in its record that it has such pages: no other looks for them.

func privateKey(dst key, a mail.AccountID, m mail.MailboxID, page uint32, user mail.AccountID) key {
	return mailboxKey(dst, a, kindPrivate, m).uint32(page).octets(user[:]...)
}

func seenKey(dst key, a mail.AccountID, m mail.MailboxID, user mail.AccountID) key {
	return mailboxKey(dst, a, kindSeen, m).octets(user[:]...)
}

// privateUser is where the user of a private page's key begins.
const privateUser = tailUID + 4

func decodeCount(b []byte) (uint32, error) {
	var r reader
	r.start(b)
	n := r.uint32()
	return n, r.finish("count of seen messages")
}

// private is the user's page that is at hand.
type private struct {
	box   mail.MailboxID
	user  mail.AccountID
	no    uint32
	page  page
	valid bool
	dirty bool
}

// seenChange is by how much a user's count differs from what is stored.
type seenChange struct {
	box  mail.MailboxID
	user mail.AccountID
	n    int64
}

// privatePage brings a user's page to hand for changing.
func (t *tx) privatePage(b *box, user mail.AccountID, no uint32) *page {
	p := &t.private
	if p.valid && p.box == b.id && p.user == user && p.no == no {
		return &p.page
	}
	t.flushPrivate()
	p.box, p.user, p.no, p.valid = b.id, user, no, true
	octets := []byte(nil)
	if b.private {
		octets = t.get(privateKey(t.key, t.id, b.id, no, user))
	}
	if octets == nil {
		p.page = page{keywords: p.page.keywords[:0]}
	} else if err := p.page.decode(octets); err != nil {
		t.fail(storeErr(err, "private flags of", b.id))
	}
	return &p.page
}

func (t *tx) flushPrivate() {
	p := &t.private
	if p.dirty {
		t.setPrivate(p.box, p.no, p.user, &p.page)
	}
	p.dirty = false
}

func (t *tx) setPrivate(box mail.MailboxID, no uint32, user mail.AccountID, p *page) {
	k := privateKey(t.key, t.id, box, no, user)
	if p.present == 0 {
		t.delete(k)
		return
	}
	p.encode(&t.buf)
	t.set(k, t.buf)
}

// seenBy says whether a user has seen a message, and when that changed last.
func (t *tx) seenBy(b *box, user mail.AccountID, uid mail.UID) (mail.Flags, mail.ModSeq) {
	if !b.private {
		return 0, 0
	}
	no, bit := pageOf(uid)
	p := t.privatePage(b, user, no)
	f, _ := p.flags(bit)
	return f, p.modseqs[bit]
}

// setSeen notes whether a user has seen a message.
func (t *tx) setSeen(b *box, user mail.AccountID, uid mail.UID, f mail.Flags) {
	no, bit := pageOf(uid)
	p := t.privatePage(b, user, no)
	old, _ := p.flags(bit)
	p.put(bit, f&mail.Seen, mail.Keywords{}, t.touch(b))
	b.private, t.private.dirty = true, true
	t.countSeen(b.id, user, int64(f&mail.Seen)-int64(old&mail.Seen))
}

func (t *tx) countSeen(box mail.MailboxID, user mail.AccountID, n int64) {
	if n == 0 {
		return
	}
	i := slices.IndexFunc(t.seen, func(c seenChange) bool { return c.box == box && c.user == user })
	if i < 0 {
		i, t.seen = len(t.seen), append(t.seen, seenChange{box: box, user: user})
	}
	t.seen[i].n += n
}

// flushSeen writes the counts that have changed.
func (t *tx) flushSeen() {
	for _, c := range t.seen {
		n := c.n
		if octets := t.get(seenKey(t.key, t.id, c.box, c.user)); octets != nil {
			old, err := decodeCount(octets)
			if err != nil {
				t.fail(err)
			}
			n += int64(old)
		}
		if k := seenKey(t.key, t.id, c.box, c.user); n == 0 {
			t.delete(k)
		} else {
			t.buf.start()
			t.buf.uint(uint64(n))
			t.set(k, t.buf)
		}
	}
	t.seen = nil
}

// userPage is what a user keeps of a page's messages.
type userPage struct {
	user mail.AccountID
	page page
}

// privatePages are all users' pages of the same UIDs.
func (t *tx) privatePages(b *box, no uint32) (list []userPage) {
	t.flushPrivate()
	t.private.valid = false
	from := mailboxKey(nil, t.id, kindPrivate, b.id).uint32(no)
	t.scan(from, prefixEnd(from), func(k, v []byte) bool {
		u := userPage{user: mail.AccountID(k[privateUser:])}
		if err := u.page.decode(v); err != nil {
			t.fail(storeErr(err, "private flags of", b.id))
			return false
		}
		list = append(list, u)
		return true
	})
	return list
}

// pagesOf cuts uids, which ascend, into those of one page each.
func pagesOf(uids []mail.UID) func(yield func(no uint32, part []mail.UID) bool) {
	return func(yield func(uint32, []mail.UID) bool) {
		for len(uids) > 0 {
			no, _ := pageOf(uids[0])
			n := 1
			for n < len(uids) && uint32(uids[n])/pageSize == no {
				n++
			}
			if !yield(no, uids[:n]) {
				return
			}
			uids = uids[n:]
		}
	}
}

// forgetSeen drops what users keep of messages that leave b.
func (t *tx) forgetSeen(b *box, uids []mail.UID) {
	if !b.private {
		return
	}
	for no, part := range pagesOf(uids) {
		list := t.privatePages(b, no)
		for i := range list {
			u := &list[i]
			before := u.page.present
			for _, uid := range part {
				_, bit := pageOf(uid)
				f, _ := u.page.flags(bit)
				t.countSeen(b.id, u.user, -int64(f&mail.Seen))
				u.page.clear(bit)
			}
			if u.page.present != before {
				t.setPrivate(b.id, no, u.user, &u.page)
			}
		}
	}
}

// carrySeen notes of copies what their users have seen of the originals. The user of the
// operation needs the right s at the target for his own.
func (t *tx) carrySeen(from, to *box, uids []mail.UID, copies mail.UID) {
	if !from.private {
		return
	}
	own := t.rights(to).Has(mail.MaySeen)
	for no, part := range pagesOf(uids) {
		for _, u := range t.privatePages(from, no) {
			if u.user == t.user && !own {
				continue
			}
			for i, uid := range part {
				_, bit := pageOf(uid)
				if f, _ := u.page.flags(bit); f&mail.Seen != 0 {
					t.setSeen(to, u.user, copies+mail.UID(i), f)
				}
			}
		}
		copies += mail.UID(len(part))
	}
}

// privateOf reads a user's page for a View; false when there is none.
func privateOf(r Reader, a mail.AccountID, id mail.MailboxID, no uint32, user mail.AccountID, p *page) (bool, error) {
	b, err := r.Get(privateKey(nil, a, id, no, user))
	if err != nil || b == nil {
		return false, storeErr(err, "read private flags of", id)
	}
	return true, storeErr(p.decode(b), "private flags of", id)
}

// seenCount reads how many messages a user has seen.
func seenCount(r Reader, a mail.AccountID, id mail.MailboxID, user mail.AccountID) (uint32, error) {
	b, err := r.Get(seenKey(nil, a, id, user))
	if err != nil || b == nil {
		return 0, storeErr(err, "read seen messages of", id)
	}
	n, err := decodeCount(b)
	return n, storeErr(err, "read seen messages of", id)
}
