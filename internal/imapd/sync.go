package imapd

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// update says how news may be told.
type update struct {
	expunges bool   // EXPUNGE is allowed now
	uid      bool   // FETCH responses carry UID
	told     []told // flag changes that need not be announced again
	all      bool   // whatever NOTIFY has left out
}

// sync announces everything that the client has not been told of its mailbox.
// All of it goes into the current unit, with its delta.
func (s *Session) sync(ctx context.Context, u update) error {
	b, events := s.box, s.selectedEvents()
	if u.all {
		events = imapwire.MessageEvents
	}
	if b == nil {
		return nil
	}
	u.uid = u.uid || s.notify != nil // RFC 5465 5.1
	v, err := s.current(ctx)
	if err != nil {
		return err
	}
	info, err := s.selected(v)
	if err != nil {
		return err
	}
	if err := s.announceRights(&info); err != nil {
		return err
	}
	b.called = info.Name
	if events == 0 {
		return nil
	}
	at, flags := info.HighestModSeq, b.told.Flags
	if events&imapwire.FlagChange == 0 {
		flags = b.told.Highest // flags stay behind
	}
	if flags >= at && (b.told.Expunged.ModSeq >= at || !u.expunges) {
		return nil
	}
	known, before := b.told.UIDNext, b.told
	if err := s.loseMembers(ctx, v); err != nil {
		return err
	}
	if u.expunges {
		if err := s.announceExpunges(v, &info); err != nil {
			return err
		}
	}
	if err := s.announceArrivals(v, &info); err != nil {
		return err
	}
	s.announceKeywords(&info)
	if events&imapwire.FlagChange != 0 {
		if err := s.announceFlags(v, &info, known, u); err != nil {
			return err
		}
	}
	wants, err := s.changeMembers(ctx, v, before)
	if err != nil {
		return err
	}
	if err := s.fetchArrivals(ctx, &info, known, wants); err != nil {
		return err
	}
	b.told.Highest = at
	s.cfg.Pictures.share(b.id, &b.uids)
	s.out.delta.Announced = b.announced()
	return nil
}

// announceExpunges tells what has gone, in MODSEQ order, and within one MODSEQ
// from the highest UID down.
func (s *Session) announceExpunges(v mail.View, info *mail.MailboxInfo) error {
	b := s.box
	var together mail.UIDSet
	for t, err := range v.Expunged(b.id, b.told.Expunged.ModSeq) {
		if errors.Is(err, mail.ErrBelowFloor) {
			return s.announceMissing(v, info)
		}
		if err != nil {
			return err
		}
		if set := b.uids.among(t.UIDs); s.byUID() {
			together = append(together, set...)
		} else {
			s.expunged(set)
		}
	}
	s.expunged(mail.NewUIDSet(together...))
	b.told.Expunged = session.Cut{ModSeq: info.HighestModSeq}
	return nil
}

// announceMissing is for a session so old that its tombstones are gone: what is
// not there any more was expunged.
func (s *Session) announceMissing(v mail.View, info *mail.MailboxInfo) error {
	gone, err := s.box.missing(v)
	if err != nil {
		return err
	}
	s.expunged(gone)
	s.box.told.Expunged = session.Cut{ModSeq: info.HighestModSeq}
	return nil
}

// missing is what is in the picture and not there any more.
func (b *box) missing(v mail.View) (mail.UIDSet, error) {
	var live mail.UIDSet
	for f, err := range v.Flags(b.id, 1, maxUID, 0) {
		if err != nil {
			return nil, err
		}
		live = live.Add(f.UID)
	}
	return b.uids.all().Minus(live), nil
}

// expunged tells that messages of the picture have gone. From the highest down,
// so that each number is still right when it is told.
func (s *Session) expunged(set mail.UIDSet) {
	if s.byUID() {
		s.vanished(set, false)
		s.box.expunge(set)
		return
	}
	for i := len(set) - 1; i >= 0; i-- {
		n := s.box.uids.number(set[i].Lo)
		for last := n + uint32(set[i].Len()) - 1; last >= n; last-- {
			s.out.buf = append(s.out.buf, "* "...)
			s.out.buf = imapwire.AppendNumber(s.out.buf, last)
			s.out.buf = append(s.out.buf, " EXPUNGE\r\n"...)
		}
	}
	s.box.expunge(set)
}

// announceArrivals tells of new messages. Where expunges may not be told, those that
// have gone again are told as well: so what a client knows follows from how far it
// was told of messages and of expunges, and from nothing else.
func (s *Session) announceArrivals(v mail.View, info *mail.MailboxInfo) error {
	b := s.box
	if info.UIDNext == b.told.UIDNext {
		return nil
	}
	from := b.told.UIDNext
	arrived, err := inView(v, b.id, from, info.UIDNext, b.told.Expunged.ModSeq)
	if err != nil && !errors.Is(err, mail.ErrBelowFloor) {
		return err
	}
	for u := range arrived.All() {
		b.arrive(u)
	}
	b.told.UIDNext = info.UIDNext
	if len(arrived) == 0 {
		return nil
	}
	s.exists()
	more, err := s.meet(v, from)
	if more {
		s.recent()
	}
	return err
}

func (s *Session) exists() {
	s.out.buf = append(s.out.buf, "* "...)
	s.out.buf = imapwire.AppendNumber(s.out.buf, s.box.uids.len())
	s.out.buf = append(s.out.buf, " EXISTS\r\n"...)
}

// announceKeywords tells the flags of the mailbox if there are more than before.
func (s *Session) announceKeywords(info *mail.MailboxInfo) {
	if n := uint32(len(info.Keywords)); n > s.box.told.Keywords {
		s.box.told.Keywords = n
		s.flagLines(info)
	}
}

// flagLines writes FLAGS and PERMANENTFLAGS.
func (s *Session) flagLines(info *mail.MailboxInfo) {
	flags := append(mail.AllFlags.Names(), info.Keywords...)
	s.out.untagged("FLAGS (" + strings.Join(flags, " ") + ")")
	s.permanentFlags(info)
}

// permanentFlags tells which flags the user may change (RFC 4314 5.2).
func (s *Session) permanentFlags(info *mail.MailboxInfo) {
	may, words := s.box.rights.Settable()
	flags := may.Names()
	if words {
		flags = append(flags, info.Keywords...)
	}
	switch {
	case s.box.readOnly():
		s.out.status("PERMANENTFLAGS ()", "Read-only")
	case len(info.Keywords) >= mail.MaxKeywords:
		s.out.status("PERMANENTFLAGS ("+strings.Join(flags, " ")+")", "No more keywords")
	case !words:
		s.out.status("PERMANENTFLAGS ("+strings.Join(flags, " ")+")", "Flags permitted")
	default:
		s.out.status("PERMANENTFLAGS ("+strings.Join(append(flags, `\*`), " ")+")", "Flags permitted")
	}
}

// announceRights tells what the user may do now, if that has changed. A mailbox that he
// may not read any more he cannot have selected.
func (s *Session) announceRights(info *mail.MailboxInfo) error {
	b := s.box
	if info.Rights == b.rights {
		return nil
	}
	if !info.Rights.Has(mail.MayRead) {
		return errGone
	}
	before := b.access()
	if b.rights = info.Rights; b.access() != before {
		s.out.status(b.access(), "Rights have changed")
	}
	s.permanentFlags(info)
	return nil
}

// announceFlags tells the flag changes of messages that were known before, in
// MODSEQ order.
func (s *Session) announceFlags(v mail.View, info *mail.MailboxInfo, known mail.UID, u update) error {
	b := s.box
	var changed []mail.MessageFlags
	if known > 1 && b.told.Flags < info.HighestModSeq {
		for f, err := range v.Flags(b.id, 1, known-1, b.told.Flags) {
			if err != nil {
				return err
			}
			if !u.hasTold(&f) {
				changed = append(changed, f)
			}
		}
	}
	slices.SortStableFunc(changed, func(a, b mail.MessageFlags) int { return cmp.Compare(a.ModSeq, b.ModSeq) })
	for i := range changed {
		s.fetchFlags(&changed[i], info.Keywords, u.uid)
	}
	b.told.Flags = info.HighestModSeq
	return nil
}

func (u *update) hasTold(f *mail.MessageFlags) bool {
	for _, t := range u.told {
		if t.at == f.ModSeq && t.uids.Contains(f.UID) {
			return true
		}
	}
	return false
}

// fetchFlags writes a FETCH response with the flags of a message in the picture.
func (s *Session) fetchFlags(f *mail.MessageFlags, keywords []string, uid bool) {
	n := s.box.uids.number(f.UID)
	if n == 0 {
		return
	}
	b := s.fetchHead(n, f.UID, uid || s.qresync())
	b = append(b, "FLAGS "...)
	b = s.appendFlags(b, f, keywords)
	if s.condStore() {
		b = appendModSeq(append(b, ' '), f.ModSeq)
	}
	s.out.buf = append(b, ")\r\n"...)
}

// fetchHead begins a FETCH response, or one of UIDFETCH (RFC 9586 3.3).
func (s *Session) fetchHead(n uint32, u mail.UID, uid bool) []byte {
	b := append(s.out.buf, "* "...)
	if s.uidOnly() {
		b = imapwire.AppendNumber(b, u)
		return append(b, " UIDFETCH ("...)
	}
	b = imapwire.AppendNumber(b, n)
	b = append(b, " FETCH ("...)
	if uid {
		b = append(b, "UID "...)
		b = imapwire.AppendNumber(b, u)
		b = append(b, ' ')
	}
	return b
}

func appendModSeq(b []byte, m mail.ModSeq) []byte {
	b = append(b, "MODSEQ ("...)
	b = imapwire.AppendNumber(b, m)
	return append(b, ')')
}

func (s *Session) condStore() bool { return s.enabled&session.CondStore != 0 }

// enableFeatures adds to what the client enabled.
func (s *Session) enableFeatures(f session.Features) {
	if s.enabled&f != f {
		s.enabled |= f
		all := s.enabled
		s.out.delta.Enabled = &all
	}
}
