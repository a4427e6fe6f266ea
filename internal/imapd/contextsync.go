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

// changeMembers tells which messages are results since before, and which are no more. It
// gives what is to be fetched of those that have arrived since.
func (s *Session) changeMembers(ctx context.Context, v mail.View, before session.Announced) (wants []wanted, err error) {
	if len(s.contexts) == 0 {
		return nil, nil
	}
	arrived := s.box.uids.among(mail.UIDSet{{Lo: before.UIDNext, Hi: maxUID}})
	var changed mail.UIDSet
	if before.UIDNext > 1 {
		for f, err := range v.Flags(s.box.id, 1, before.UIDNext-1, before.Flags) {
			if err != nil {
				return nil, err
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
		added, err := s.look(ctx, x, look)
		if err != nil {
			if _, err := s.errorAnswer(err); err != nil {
				return nil, err
			}
			s.drop(x, "Search could not be continued")
		}
		if added = intersect(added, arrived); len(x.items) > 0 && len(added) > 0 {
			wants = append(wants, wanted{added, x.items, x})
		}
	}
	return wants, nil
}

// look tests messages anew, and gives those that are members now.
func (s *Session) look(ctx context.Context, x *searchContext, uids mail.UIDSet) (added mail.UIDSet, err error) {
	m, err := s.compile(ctx, s.box, &x.program)
	if err != nil {
		return nil, err
	}
	m.among = intersect(m.among, uids)
	var hits mail.UIDSet
	if err := s.match(ctx, s.box, m, func(w *row) { hits = hits.Add(w.flags.UID) }); err != nil {
		return nil, err
	}
	added = hits.Minus(x.members)
	if !s.remove(x, intersect(x.members, uids).Minus(hits)) || len(added) == 0 {
		return nil, nil
	}
	ok, err := s.insert(ctx, x, added)
	if !ok {
		added = nil
	}
	return added, err
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
	b := append(s.head(x), " REMOVEFROM ("...)
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

// insert tells that there are new members. It reports whether the context goes on.
func (s *Session) insert(ctx context.Context, x *searchContext, added mail.UIDSet) (bool, error) {
	all := x.members.Union(added)
	if len(all) > session.MaxContextRanges || x.sorted() && all.Len() > maxSorted {
		s.drop(x, "Result has become too large to be updated")
		return false, nil
	}
	var order []mail.UID
	if x.sorted() {
		var err error
		if order, err = s.order(ctx, s.box.id, all, x.criteria); err != nil {
			return false, err
		}
	}
	b := append(s.head(x), " ADDTO ("...)
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
	return true, nil
}

// head begins a response about a context.
func (s *Session) head(x *searchContext) []byte {
	if x.named {
		return s.appendSource(s.out.buf, x.tag, s.box.at.prefix+s.box.called, s.box.uidValidity)
	}
	return appendCorrelator(s.out.buf, x.tag, x.uid)
}

// appendPair appends a context position, 0 for the mailbox's own order, and the results
// there.
func (b *box) appendPair(dst []byte, place int, list []mail.UID, uid bool) []byte {
	dst = append(imapwire.AppendNumber(dst, place), ' ')
	return b.appendOrdered(dst, list, uid)
}
