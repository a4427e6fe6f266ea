package imapd

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/message"
)

// What is derived of a message is kept for each message by itself. Clients that list a
// mailbox, and searches, ask the same piece of thousands of messages: so each piece of
// pageSpan consecutive UIDs of a mailbox is kept once more in one entry, a page, and
// 50,000 messages are 400 reads. A page is written by whoever has asked for enough that
// it lacks. What was expunged stays in it until then.

const (
	pageSpan = 128
	// fewAsked is how many messages of a page are read by themselves before it is looked
	// for: who wants one or two must not read all.
	fewAsked = 4
	// worthWriting is how many messages a page must lack to be written again.
	worthWriting = pageSpan / 4
	// largePiece is the largest piece that is in a page, so that any page can be kept.
	largePiece = 1 << 10
)

// The versions of pages' entries: of each piece, and of a field.
const (
	piecesVersion = message.Version<<8 | 0x80
	fieldsVersion = message.Version<<8 | 0xc0
)

// pageKey names a page. It is one of this history of the account: in another one, UIDs
// that were never told may be other messages. What has another version has another key,
// since one entry would take the other's place.
func pageKey(version uint32, field string, mailbox mail.MailboxID, fork uint64, number uint32) mail.EmailID {
	b := append([]byte(field), mailbox[:]...)
	b = binary.BigEndian.AppendUint32(b, version)
	b = binary.BigEndian.AppendUint64(b, fork)
	sum := sha256.Sum256(binary.BigEndian.AppendUint32(b, number))
	return mail.EmailID(sum[:16])
}

// pages gives one piece of the messages of a walk, or one field.
type pages struct {
	version uint32 // of the entries
	largest int    // message's data
	field   string // which one, if it is no piece

	number uint32 // of the page that the walk is in
	asked  int    // how many of its messages were
	key    mail.EmailID
	loaded bool
	list   []onPage // ascending
	added  []onPage // what the page lacks, ascending
	at     int      // in list
}

// onPage is one message's piece.
type onPage struct {
	uid  mail.UID
	data []byte
}

// turn begins another page.
func (p *pages) turn(number uint32) {
	*p = pages{
		version: p.version, largest: p.largest, field: p.field, number: number, list: p.list[:0], added: p.added[:0],
		asked: min(p.asked, fewAsked), // who has gone through the one before goes on
	}
}

// find looks a message up in the page.
func (p *pages) find(u mail.UID) ([]byte, bool) {
	if p.at >= len(p.list) || p.list[p.at].uid > u {
		p.at = 0
	}
	for p.at < len(p.list) && p.list[p.at].uid < u {
		p.at++
	}
	if p.at < len(p.list) && p.list[p.at].uid == u {
		return p.list[p.at].data, true
	}
	return nil, false
}

// add notes a piece that the page lacks.
func (p *pages) add(u mail.UID, data []byte) {
	if n := len(p.added); len(data) <= p.largest && (n == 0 || p.added[n-1].uid < u) {
		p.added = append(p.added, onPage{u, data})
	}
}

// encode writes the page with what was added: of each message the UID, less that of the
// one before, and 0 or 1 + length and the octets of the piece.
func (p *pages) encode() []byte {
	both := slices.Concat(p.list, p.added)
	slices.SortFunc(both, func(a, b onPage) int { return int(a.uid) - int(b.uid) })
	var b []byte
	last := mail.UID(0)
	for _, one := range both {
		b = binary.AppendUvarint(b, uint64(one.uid-last))
		if one.data == nil {
			b = binary.AppendUvarint(b, 0)
		} else {
			b = binary.AppendUvarint(b, uint64(len(one.data))+1)
			b = append(b, one.data...)
		}
		last = one.uid
	}
	return b
}

// decode reads what encode wrote, in the same memory. A page that it cannot read is empty.
func (p *pages) decode(b []byte) {
	p.list, p.at = p.list[:0], 0
	last := uint64(0)
	for len(b) > 0 {
		step, n := binary.Uvarint(b)
		if n <= 0 || step == 0 || step > uint64(maxUID)-last {
			p.list = p.list[:0]
			return
		}
		size, k := binary.Uvarint(b[n:])
		rest := b[n+max(k, 0):]
		if k <= 0 || size > uint64(len(rest))+1 {
			p.list = p.list[:0]
			return
		}
		last += step
		one := onPage{uid: mail.UID(last)}
		if size > 0 {
			one.data = rest[: size-1 : size-1]
			rest = rest[size-1:]
		}
		p.list = append(p.list, one)
		b = rest
	}
}

// piece gives a piece of what is derived of a row's message.
func (a *ahead) piece(ctx context.Context, c *content, want message.Piece) ([]byte, error) {
	return a.paged(ctx, c.row, &a.pieces[want], func() ([]byte, error) { return c.piece(ctx, want) })
}

// field gives the fields of one name of a row's header, and what follows the header.
// Those of the first name that a walk asks for are kept in pages, as other servers do
// once they were searched.
func (a *ahead) field(ctx context.Context, c *content, name string) (message.Header, error) {
	name = strings.ToLower(name)
	if a.fields.field == "" {
		a.fields = pages{field: name, version: fieldsVersion, largest: largePiece}
	}
	if a.fields.field != name {
		return c.header(ctx)
	}
	b, err := a.paged(ctx, c.row, &a.fields, func() ([]byte, error) {
		h, err := c.header(ctx)
		return []byte(h.Select([]string{name}, false)), err
	})
	return message.Header(b), err
}

// paged gives what the page has of a row's message, or else what from gives.
func (a *ahead) paged(ctx context.Context, w *row, p *pages, from func() ([]byte, error)) ([]byte, error) {
	uid := w.flags.UID
	if n := uint32(uid) / pageSpan; n != p.number || p.asked == 0 {
		a.write(p)
		p.turn(n)
	}
	if p.asked++; p.asked == fewAsked+1 && !a.s.at.away() {
		if err := a.look(ctx, p); err != nil {
			return nil, err
		}
	}
	if data, ok := p.find(uid); ok {
		return data, nil
	}
	data, err := from()
	if err == nil && p.loaded {
		p.add(uid, data)
	}
	return data, err
}

// look reads the page that the walk is in.
func (a *ahead) look(ctx context.Context, p *pages) error {
	v, err := a.s.current(ctx)
	if err != nil {
		return err
	}
	account, err := v.Account()
	if err != nil {
		return err
	}
	p.key = pageKey(p.version, p.field, a.box.id, account.Fork, p.number)
	p.decode(a.s.derived(p.version, p.key))
	p.loaded = true
	return nil
}

// write keeps the page that the walk is in, if it lacked much. Of a field it has to be in
// the messages: what a client may have kept grows with its mail, not with the names that
// it can think of.
func (a *ahead) write(p *pages) {
	worth := 0
	for _, one := range p.added {
		if p.field == "" || len(one.data) > len("\r\n") {
			worth++
		}
	}
	if worth >= worthWriting {
		a.s.at.account.SetDerived(p.key, p.version, p.encode())
		p.added = p.added[:0]
	}
}
