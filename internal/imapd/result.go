package imapd

import (
	"slices"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// result is what a search has found.
type result struct {
	box    *box // where
	uids   mail.UIDSet
	order  []mail.UID  // as SORT asked for; nil: the mailbox's own order
	modSeq mail.ModSeq // the largest of all
}

// at is the result at a place, from 0, of those that there are.
func (r *result) at(place int) mail.UID {
	if r.order != nil {
		return r.order[place]
	}
	return slice(r.uids, place, place+1)[0].Lo
}

// slice is the UIDs of set at the places [from, to).
func slice(set mail.UIDSet, from, to int) mail.UIDSet {
	var out mail.UIDSet
	place := 0
	for _, r := range set {
		n := r.Len()
		lo, hi := max(from-place, 0), min(to-place, n)
		if lo < hi {
			out = append(out, mail.UIDRange{Lo: r.Lo + mail.UID(lo), Hi: r.Lo + mail.UID(hi-1)})
		}
		if place += n; place >= to {
			break
		}
	}
	return out
}

// showsAll reports whether the answer tells of all results, if only their number.
func (r *result) showsAll(a *imapwire.Search) bool {
	some := imapwire.ReturnMin | imapwire.ReturnMax | imapwire.ReturnPartial
	return a.Return&some == 0 || a.Return&(imapwire.ReturnAll|imapwire.ReturnCount) != 0
}

// shown is what SAVE keeps, and MODSEQ tells of: everything, or what MIN, MAX and
// PARTIAL gave if nothing else was asked for (RFC 5182 2.4, 9394 3.2).
func (r *result) shown(a *imapwire.Search) mail.UIDSet {
	n := r.uids.Len()
	if n == 0 || r.showsAll(a) {
		return r.uids
	}
	var set mail.UIDSet
	if a.Return&imapwire.ReturnMin != 0 {
		set = set.Add(r.at(0))
	}
	if a.Return&imapwire.ReturnMax != 0 {
		set = set.Add(r.at(n - 1))
	}
	if a.Return&imapwire.ReturnPartial != 0 {
		from, to := a.Page.Of(n)
		set = set.Union(r.part(from, to))
	}
	return set
}

// part is the results at the places [from, to), as a set.
func (r *result) part(from, to int) mail.UIDSet {
	if r.order == nil {
		return slice(r.uids, from, to)
	}
	list := slices.Clone(r.order[from:to])
	slices.Sort(list)
	var set mail.UIDSet
	for _, u := range list {
		set = set.Add(u)
	}
	return set
}

// appendPlain appends "* SEARCH" or "* SORT" with each result.
func (r *result) appendPlain(b []byte, c *imapwire.Command, modSeq bool) []byte {
	b = append(append(b, "* "...), c.Name...)
	one := func(u mail.UID) { b = imapwire.AppendNumber(append(b, ' '), r.box.name(u, c.UID)) }
	if r.order != nil {
		for _, u := range r.order {
			one(u)
		}
	} else {
		for u := range r.uids.All() {
			one(u)
		}
	}
	if modSeq && len(r.uids) > 0 {
		b = append(b, " (MODSEQ "...)
		b = append(imapwire.AppendNumber(b, r.modSeq), ')')
	}
	return append(b, "\r\n"...)
}

// appendCorrelator begins an ESEARCH response.
func appendCorrelator(b []byte, tag string, uid bool) []byte {
	b = append(b, "* ESEARCH (TAG "...)
	b = append(imapwire.AppendString(b, tag), ')')
	if uid {
		b = append(b, " UID"...)
	}
	return b
}

// appendItems appends the items asked for.
func (r *result) appendItems(b []byte, a *imapwire.Search, uid bool) []byte {
	n := r.uids.Len()
	if n > 0 {
		if a.Return&imapwire.ReturnMin != 0 {
			b = imapwire.AppendNumber(append(b, " MIN "...), r.box.name(r.at(0), uid))
		}
		if a.Return&imapwire.ReturnMax != 0 {
			b = imapwire.AppendNumber(append(b, " MAX "...), r.box.name(r.at(n-1), uid))
		}
		if a.Return&imapwire.ReturnAll != 0 {
			b = r.appendPart(append(b, " ALL "...), 0, n, uid)
		}
	}
	if a.Return&imapwire.ReturnCount != 0 {
		b = imapwire.AppendNumber(append(b, " COUNT "...), n)
	}
	if a.Return&imapwire.ReturnPartial != 0 {
		b = a.Page.Append(append(b, " PARTIAL ("...))
		b = append(b, ' ')
		if from, to := a.Page.Of(n); from < to {
			b = r.appendPart(b, from, to, uid)
		} else {
			b = append(b, "NIL"...)
		}
		b = append(b, ')')
	}
	return b
}

// appendPart appends the results at the places [from, to), in their order.
func (r *result) appendPart(b []byte, from, to int, uid bool) []byte {
	if r.order != nil {
		return r.box.appendOrdered(b, r.order[from:to], uid)
	}
	set := slice(r.uids, from, to)
	if !uid {
		set = r.box.numbersOf(set)
	}
	b, _ = set.AppendText(b)
	return b
}

// name is how a client that asked by UID, or by number, calls a message.
func (b *box) name(u mail.UID, uid bool) uint32 {
	if uid {
		return uint32(u)
	}
	return b.uids.number(u)
}

// appendOrdered appends messages as a sequence set in the order given. Only those that
// ascend one by one become a range: "2:1" would be the same as "1:2".
func (b *box) appendOrdered(dst []byte, list []mail.UID, uid bool) []byte {
	for i := 0; i < len(list); {
		lo := b.name(list[i], uid)
		hi := lo
		for i++; i < len(list) && b.name(list[i], uid) == hi+1; i++ {
			hi++
		}
		dst = imapwire.AppendNumber(dst, lo)
		if hi > lo {
			dst = imapwire.AppendNumber(append(dst, ':'), hi)
		}
		if i < len(list) {
			dst = append(dst, ',')
		}
	}
	return dst
}
