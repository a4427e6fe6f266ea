package imapd

import (
	"context"
	"errors"
	"slices"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// loseMembers tells which results have gone from the mailbox, before EXPUNGE does: the
// message numbers are still those that the client knows (RFC 5267 4.3.4).
func (s *Session) loseMembers(ctx context.Context, v mail.View) error {
	if len(s.contexts) == 0 {
		return nil
	}
	gone, err := s.gone(v)
	if err != nil {
		return err
	}
	for _, x := range s.contexts {
		lost := intersect(x.members, gone)
		if x.sorted() && x.order == nil {
			// The keys of what is gone are not to be had any more, and with them its places.
			if len(lost) > 0 {
				s.drop(x, "Search could not be continued")
				continue
			}
			if x.order, err = s.order(ctx, s.box.id, x.members, x.criteria); err != nil {
				return err
			}
		}
		s.remove(x, lost)
	}
	return nil
}

// gone is what was expunged and not announced yet.
func (s *Session) gone(v mail.View) (mail.UIDSet, error) {
	b := s.box
	var all mail.UIDSet
	for t, err := range v.Expunged(b.id, b.told.Expunged.ModSeq) {
		if errors.Is(err, mail.ErrBelowFloor) {
			return b.missing(v)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, t.UIDs...)
	}
	return mail.NewUIDSet(all...), nil
}

// changeMembers tells which messages are results since before, and which are no more.
func (s *Session) changeMembers(ctx context.Context, v mail.View, before session.Announced) error {
	if len(s.contexts) == 0 {
		return nil
	}
	arrived := s.box.uids.among(mail.UIDSet{{Lo: before.UIDNext, Hi: maxUID}})
	var changed mail.UIDSet
	if before.UIDNext > 1 {
		for f, err := range v.Flags(s.box.id, 1, before.UIDNext-1, before.Flags) {
			if err != nil {
				return err
			}
			changed = changed.Add(f.UID)
		}
	}
	for _, x := range s.contexts {
		look := arrived
		if needsFlags(&x.program) {
			look = look.Union(s.box.uids.among(changed))
		}
		if len(look) == 0 {
			continue
		}
		if err := s.look(ctx, x, look); err != nil {
			if _, err := s.errorAnswer(err); err != nil {
				return err
			}
			s.drop(x, "Search could not be continued")
		}
	}
	return nil
}

// look tests messages anew.
func (s *Session) look(ctx context.Context, x *searchContext, uids mail.UIDSet) error {
	m, err := s.compile(ctx, s.box, &x.program)
	if err != nil {
		return err
	}
	m.among = intersect(m.among, uids)
	var hits mail.UIDSet
	if err := s.match(ctx, s.box, m, func(w *row) { hits = hits.Add(w.flags.UID) }); err != nil {
		return err
	}
	added := hits.Minus(x.members)
	if !s.remove(x, intersect(x.members, uids).Minus(hits)) || len(added) == 0 {
		return nil
	}
	return s.insert(ctx, x, added)
}

// remove tells that members are no more. It reports whether the context goes on.
func (s *Session) remove(x *searchContext, lost mail.UIDSet) bool {
	if len(lost) == 0 {
		return true
	}
	left := x.members.Minus(lost)
	if max(len(left), len(lost)) > session.MaxContextRanges {
		s.drop(x, "Result has become too scattered to be updated")
		return false
	}
	b := append(appendCorrelator(s.out.buf, x.tag, x.uid), " REMOVEFROM ("...)
	if !x.sorted() {
		b = s.box.appendPair(b, 0, slices.Collect(lost.All()), x.uid)
	} else {
		// From the end, so that each place is still right when it is told.
		first := true
		for to := len(x.order); to > 0; to-- {
			from := to
			for from > 0 && lost.Contains(x.order[from-1]) {
				from--
			}
			if from == to {
				continue
			}
			if !first {
				b = append(b, ' ')
			}
			b = s.box.appendPair(b, from+1, x.order[from:to], x.uid)
			first, to = false, from+1
		}
		x.order = slices.DeleteFunc(x.order, lost.Contains)
	}
	s.out.buf = append(b, ")\r\n"...)
	x.members = left
	s.contextChange(session.ContextChange{Tag: x.tag, Removed: lost})
	return true
}

// insert tells that there are new members.
func (s *Session) insert(ctx context.Context, x *searchContext, added mail.UIDSet) error {
	all := x.members.Union(added)
	if len(all) > session.MaxContextRanges || x.sorted() && all.Len() > maxSorted {
		s.drop(x, "Result has become too large to be updated")
		return nil
	}
	var order []mail.UID
	if x.sorted() {
		var err error
		if order, err = s.order(ctx, s.box.id, all, x.criteria); err != nil {
			return err
		}
	}
	b := append(appendCorrelator(s.out.buf, x.tag, x.uid), " ADDTO ("...)
	if !x.sorted() {
		b = s.box.appendPair(b, 0, slices.Collect(added.All()), x.uid)
	}
	first := true
	for from := 0; from < len(order); from++ {
		to := from
		for to < len(order) && added.Contains(order[to]) {
			to++
		}
		if from == to {
			continue
		}
		if !first {
			b = append(b, ' ')
		}
		b = s.box.appendPair(b, from+1, order[from:to], x.uid)
		first, from = false, to
	}
	s.out.buf = append(b, ")\r\n"...)
	x.members, x.order = all, order
	s.contextChange(session.ContextChange{Tag: x.tag, Added: added})
	return nil
}

// appendPair appends a context position, 0 for the mailbox's own order, and the results
// there.
func (b *box) appendPair(dst []byte, place int, list []mail.UID, uid bool) []byte {
	dst = append(imapwire.AppendNumber(dst, place), ' ')
	return b.appendOrdered(dst, list, uid)
}
