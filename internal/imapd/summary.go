package imapd

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/message"
)

// What SORT and THREAD compare is kept in pages of its own, which are written again when
// they lack one message: they are small.

// summary is what does not change about a message and can be sorted by.
type summary struct {
	uid     mail.UID
	arrival mail.Instant
	size    int64
	message.Summary
}

// summaries reads the summaries of one mailbox.
type summaries struct {
	*Session
	mailbox mail.MailboxID
	fork    uint64
	page    []summary // the one read last
}

// summarize calls visit with the summaries of uids, in order. Of a message that cannot
// be read there is just the UID, and what its record says.
func (s *Session) summarize(ctx context.Context, id mail.MailboxID, uids mail.UIDSet, visit func(*summary) error) error {
	v, err := s.current(ctx)
	if err != nil {
		return err
	}
	account, err := v.Account()
	if err != nil {
		return err
	}
	r := &summaries{Session: s, mailbox: id, fork: account.Fork}
	for len(uids) > 0 {
		number := uint32(uids[0].Lo) / pageSpan
		last := mail.UID(uint64(number+1)*pageSpan - 1)
		part := intersect(uids[:within(uids, last)], mail.UIDSet{{Lo: uids[0].Lo, Hi: last}})
		if err := r.read(ctx, number, part); err != nil {
			return err
		}
		for i := range r.page {
			if !part.Contains(r.page[i].uid) {
				continue
			}
			if err := visit(&r.page[i]); err != nil {
				return err
			}
		}
		uids = behind(uids, last)
	}
	return nil
}

// within is how many ranges of uids begin at last or before.
func within(uids mail.UIDSet, last mail.UID) int {
	n := 0
	for n < len(uids) && uids[n].Lo <= last {
		n++
	}
	return n
}

// behind is uids above last.
func behind(uids mail.UIDSet, last mail.UID) mail.UIDSet {
	for len(uids) > 0 && uids[0].Hi <= last {
		uids = uids[1:]
	}
	if len(uids) > 0 && uids[0].Lo <= last {
		uids = slices.Clone(uids)
		uids[0].Lo = last + 1
	}
	return uids
}

// read makes r.page a page with all of uids that are there.
func (r *summaries) read(ctx context.Context, number uint32, uids mail.UIDSet) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	key := pageKey(message.SummaryVersion, "", r.mailbox, r.fork, number)
	if data := r.derived(message.SummaryVersion, key); data == nil || !r.decode(string(data)) {
		r.page = r.page[:0] // it is made again
	}
	missing := r.missing(uids)
	if len(missing) == 0 {
		return nil
	}
	whole := true
	for part := range spans(missing) {
		ok, err := r.add(ctx, part)
		if err != nil {
			return err
		}
		whole = whole && ok
	}
	slices.SortFunc(r.page, func(a, b summary) int { return cmp.Compare(a.uid, b.uid) })
	if whole {
		r.at.account.SetDerived(key, message.SummaryVersion, r.encode())
	}
	return nil
}

// missing is those of uids that the page lacks.
func (r *summaries) missing(uids mail.UIDSet) mail.UIDSet {
	var out mail.UIDSet
	i := 0
	for u := range uids.All() {
		for i < len(r.page) && r.page[i].uid < u {
			i++
		}
		if i == len(r.page) || r.page[i].uid != u {
			out = out.Add(u)
		}
	}
	return out
}

// add reads the headers of uids. It reports whether all could be read.
func (r *summaries) add(ctx context.Context, uids mail.UIDSet) (whole bool, err error) {
	v, err := r.current(ctx)
	if err != nil {
		return false, err
	}
	var list []mail.Message
	for m, err := range v.Messages(r.mailbox, uids[0].Lo, uids[len(uids)-1].Hi) {
		if err != nil {
			return false, err
		}
		if uids.Contains(m.UID) {
			list = append(list, m)
		}
	}
	whole = true
	for _, m := range list {
		one := summary{uid: m.UID, arrival: m.InternalDate, size: m.Size}
		switch err := r.header(ctx, m, &one.Summary); {
		case errors.Is(err, mail.ErrNoMessage), errors.Is(err, mail.ErrCorrupt):
			r.log.Warn("message could not be summarized", "uid", m.UID, "err", err)
			whole = false
		case err != nil:
			return false, err
		}
		r.page = append(r.page, one)
	}
	return whole, nil
}

func (r *summaries) header(ctx context.Context, m mail.Message, to *message.Summary) error {
	c := r.content(m)
	defer c.close()
	if data, _ := c.cached(ctx); data != nil {
		if k, err := message.Cut(data, message.FieldsPiece); err == nil && k != nil {
			*to = message.Summarize(message.Header(k))
			return nil
		}
	}
	octets, err := c.open(ctx)
	if err != nil {
		return err
	}
	h, err := message.ReadTop(octets, octets.Size())
	if err != nil {
		return fmt.Errorf("read message %d: %w", m.UID, err)
	}
	*to = message.Summarize(h)
	return nil
}

// encode writes the page: of each message the UID, less that of the one before, the
// arrival in microseconds, the size, and the summary.
func (r *summaries) encode() []byte {
	var b []byte
	last := mail.UID(0)
	for i := range r.page {
		one := &r.page[i]
		b = binary.AppendUvarint(b, uint64(one.uid-last))
		b = binary.AppendVarint(b, int64(one.arrival))
		b = binary.AppendUvarint(b, uint64(one.size))
		b = one.Summary.Append(b)
		last = one.uid
	}
	return b
}

// decode is the inverse of encode. What it cannot read is made again.
func (r *summaries) decode(data string) bool {
	r.page = r.page[:0]
	last := mail.UID(0)
	for data != "" {
		var one summary
		var head [3 * binary.MaxVarintLen64]byte
		h := head[:copy(head[:], data)]
		uid, n := binary.Uvarint(h)
		if n <= 0 || uid == 0 {
			return false
		}
		arrival, k := binary.Varint(h[n:])
		if k <= 0 {
			return false
		}
		n += k
		size, k := binary.Uvarint(h[n:])
		if k <= 0 {
			return false
		}
		one.uid, one.arrival, one.size = last+mail.UID(uid), mail.Instant(arrival), int64(size)
		rest, err := one.Decode(data[n+k:])
		if err != nil || one.uid <= last {
			return false
		}
		r.page = append(r.page, one)
		data, last = rest, one.uid
	}
	return true
}
