package imapd

import (
	"context"
	"errors"
	"sort"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

func (s *Session) qresync() bool { return s.enabled&session.QResync != 0 }
func (s *Session) uidOnly() bool { return s.enabled&session.UIDOnly != 0 }

// byUID reports whether expunges are told by VANISHED, by their UIDs.
func (s *Session) byUID() bool { return s.qresync() || s.uidOnly() }

// errUIDRequired is a message number from a client that gave them up (RFC 9586 3.1).
var errUIDRequired = errors.New("message numbers are not in use")

// maxVanished is about how many octets one VANISHED response has.
const maxVanished = 8 << 10

// vanished writes VANISHED responses (RFC 7162 3.2.10), which clients take instead of
// EXPUNGE. earlier: the messages are not counted in the client's picture.
func (s *Session) vanished(set mail.UIDSet, earlier bool) {
	head := "* VANISHED "
	if earlier {
		head += "(EARLIER) "
	}
	for len(set) > 0 {
		n := min(len(set), maxVanished/len("4294967295:4294967295,"))
		s.out.buf = append(append(append(s.out.buf, head...), set[:n].String()...), "\r\n"...)
		set = set[n:]
	}
}

// resync tells what changed in the mailbox just selected since the state that the
// client remembers (RFC 7162 3.2.5). Its cost grows with the changes, unless they
// are older than the mailbox's memory of expunges.
func (s *Session) resync(v mail.View, info *mail.MailboxInfo, q *imapwire.QResync) error {
	if q.UIDValidity != info.UIDValidity || info.UIDNext <= 1 {
		return nil
	}
	known := mail.UIDSet{{Lo: 1, Hi: info.UIDNext - 1}}
	if q.Known != nil {
		known = intersect(known, q.Known)
	}
	gone, err := s.goneSince(v, known, q.ModSeq, s.box.uids.agreed(q))
	if err != nil {
		return err
	}
	s.vanished(gone, true)
	for f, err := range v.Flags(s.box.id, 1, maxUID, q.ModSeq) {
		if err != nil {
			return err
		}
		if known.Contains(f.UID) {
			s.fetchFlags(&f, info.Keywords, true)
		}
	}
	return nil
}

// goneSince is those of set that are not in the picture and were removed after since.
// When that is not remembered any more it is all that are not in the picture, but for
// those up to agreed, where the client knows it all (RFC 7162 3.2.6).
func (s *Session) goneSince(v mail.View, set mail.UIDSet, since mail.ModSeq, agreed mail.UID) (mail.UIDSet, error) {
	var parts mail.UIDSet
	for t, err := range v.Expunged(s.box.id, since) {
		if errors.Is(err, mail.ErrBelowFloor) {
			if agreed < maxUID {
				parts = intersect(set, mail.UIDSet{{Lo: agreed + 1, Hi: maxUID}})
			}
			break
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, intersect(t.UIDs, set)...)
	}
	return without(mail.NewUIDSet(parts...), s.box.uids.all()), nil
}

// agreed is the highest UID up to which the client's sequence match data shows that
// it has the messages of m and no others; 0 if it does not (RFC 7162 3.2.5.2).
func (m *uidMap) agreed(q *imapwire.QResync) mail.UID {
	numbers, uids := q.Match.Numbers, q.Match.UIDs
	best := mail.UID(0)
	for len(numbers) > 0 && len(uids) > 0 {
		n, u := &numbers[0], &uids[0]
		k := min(n.Hi-n.Lo, u.Hi-u.Lo) // pairs less one
		best = max(best, m.agreedRun(uint32(n.Lo), u.Lo, uint32(k)))
		numbers, uids = cutFront(numbers, k), cutFront(uids, k)
	}
	return best
}

// agreedRun is agreed for the pairs (number, uid) to (number+k, uid+k). UIDs grow at
// least as fast as numbers: the pairs that are right stand together, and behind them
// the picture's UIDs are too high.
func (m *uidMap) agreedRun(number uint32, uid mail.UID, k uint32) mail.UID {
	total := uint32(m.len())
	if number > total {
		return 0
	}
	k = min(k, total-number)
	at := func(i int) mail.UID { return m.numbers(number+uint32(i), number+uint32(i))[0].Lo }
	i := sort.Search(int(k)+1, func(i int) bool { return at(i) > uid+mail.UID(i) }) - 1
	if i < 0 || at(i) != uid+mail.UID(i) {
		return 0
	}
	return at(i)
}

// cutFront is set without the first k+1 of its first range.
func cutFront(set mail.UIDSet, k mail.UID) mail.UIDSet {
	if set[0].Hi-set[0].Lo == k {
		return set[1:]
	}
	rest := append(mail.UIDSet{{Lo: set[0].Lo + k + 1, Hi: set[0].Hi}}, set[1:]...)
	return rest
}

// without is those of a that are not in b.
func without(a, b mail.UIDSet) mail.UIDSet {
	var out mail.UIDSet
	for _, r := range a {
		lo := uint64(r.Lo)
		for len(b) > 0 && b[0].Hi < r.Lo {
			b = b[1:]
		}
		for i := 0; i < len(b) && b[i].Lo <= r.Hi; i++ {
			if lo < uint64(b[i].Lo) {
				out = append(out, mail.UIDRange{Lo: mail.UID(lo), Hi: b[i].Lo - 1})
			}
			lo = uint64(b[i].Hi) + 1
		}
		if lo <= uint64(r.Hi) {
			out = append(out, mail.UIDRange{Lo: mail.UID(lo), Hi: r.Hi})
		}
	}
	return out
}

// fetchVanished tells which of the UIDs that a UID FETCH names have gone. Those that
// are still in the client's picture are told as its expunges, with the news.
func (s *Session) fetchVanished(ctx context.Context, a *imapwire.Fetch) error {
	v, err := s.current(ctx)
	if err != nil {
		return err
	}
	if s.box.told.UIDNext <= 1 {
		return nil
	}
	named := s.saved
	if !a.Set.Saved {
		var parts []mail.UIDRange
		for _, r := range a.Set.Resolve(uint32(max(s.box.uids.max(), 1))) {
			parts = append(parts, mail.UIDRange{Lo: mail.UID(r.Lo), Hi: mail.UID(r.Hi)})
		}
		named = mail.NewUIDSet(parts...)
	}
	named = intersect(named, mail.UIDSet{{Lo: 1, Hi: s.box.told.UIDNext - 1}})
	gone, err := s.goneSince(v, named, mail.ModSeq(*a.ChangedSince), 0)
	if err != nil {
		return err
	}
	s.vanished(gone, true)
	return nil
}
