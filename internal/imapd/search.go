package imapd

import (
	"context"
	"errors"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// search is SEARCH and UID SEARCH (RFC 3501, 4731, 5182, 5267, 7162, 9394).
func (s *Session) search(ctx context.Context, c *imapwire.Command, a *imapwire.Search) (answer, error) {
	if a.Charset && s.utf8() {
		return bad("CHARSET is not allowed after ENABLE UTF8=ACCEPT"), nil // RFC 6855 3
	}
	if s.rev2() && !a.Extended {
		a.Extended, a.Return = true, imapwire.ReturnAll
	}
	return s.searching(ctx, c, a, nil)
}

// searching is SEARCH and SORT: it finds messages, sorts and tells them.
func (s *Session) searching(ctx context.Context, c *imapwire.Command, a *imapwire.Search, by []imapwire.SortCriterion) (answer, error) {
	if a.Return&imapwire.ReturnUpdate != 0 && s.contextOf(c.Tag) >= 0 {
		return bad("Another search with this tag is being updated"), nil
	}
	if a.UsesModSeq() {
		s.enableCondStore()
	}
	save := a.Return&imapwire.ReturnSave != 0
	res, err := s.find(ctx, s.box, &a.Program)
	if err == nil && len(by) > 0 {
		res.order, err = s.order(ctx, s.box.id, res.uids, by)
	}
	if err == nil {
		err = s.tell(ctx, c, a, &res)
	}
	if err != nil {
		if save && !errors.Is(err, errUIDRequired) {
			s.save(nil) // RFC 5182 2.1: NO empties the variable, BAD does not
		}
		return answer{}, err
	}
	if a.Return&imapwire.ReturnUpdate != 0 {
		s.follow(c, a, by, &res)
	}
	if !save {
		return ok(c.Name + " completed"), nil
	}
	return s.keep(c, res.shown(a)), nil
}

// keep is the end of a search with SAVE.
func (s *Session) keep(c *imapwire.Command, uids mail.UIDSet) answer {
	if len(uids) > session.MaxRanges {
		s.save(nil)
		return no("NOTSAVED", "Result is too scattered to be saved")
	}
	s.save(uids)
	return ok(c.Name + " completed")
}

// save sets what "$" stands for.
func (s *Session) save(uids mail.UIDSet) {
	s.saved = uids
	s.out.delta.Saved = &uids
}

// find looks at every message of b that the program may match.
func (s *Session) find(ctx context.Context, b *box, program *imapwire.SearchKey) (result, error) {
	res := result{box: b}
	m, err := s.compile(ctx, b, program)
	if err != nil {
		return res, err
	}
	err = s.match(ctx, b, m, func(w *row) {
		res.modSeq = max(res.modSeq, w.flags.ModSeq)
		res.uids = res.uids.Add(w.flags.UID)
	})
	return res, err
}

// match calls hit for the messages that m matches, in order.
func (s *Session) match(ctx context.Context, b *box, m *matcher, hit func(*row)) error {
	c := &candidate{content: new(content)} // one for all: most tests look at flags alone
	return s.walk(ctx, b, m.among, func(w *row) error {
		c.row, *c.content = w, content{s: s, uid: w.flags.UID, row: w}
		defer c.close()
		matches, err := m.test(ctx, c)
		if err != nil || !matches {
			return s.unsearchable(w.flags.UID, err)
		}
		hit(w)
		return nil
	})
}

// unsearchable decides about a message that could not be read: one that has gone
// does not match, nor does one that is damaged, which the log gets to know.
func (s *Session) unsearchable(u mail.UID, err error) error {
	switch {
	case errors.Is(err, mail.ErrNoMessage):
		return nil
	case errors.Is(err, mail.ErrCorrupt):
		s.log.Error("message could not be searched", "uid", u, "err", err)
		return nil
	}
	return err
}

// tell writes the result.
func (s *Session) tell(ctx context.Context, c *imapwire.Command, a *imapwire.Search, res *result) error {
	if !a.Extended {
		s.out.buf = res.appendPlain(s.out.buf, c, a.UsesModSeq())
		return nil
	}
	if a.Return == imapwire.ReturnSave {
		return nil // RFC 5182 2.1: nothing else was asked for
	}
	s.out.buf = appendCorrelator(s.out.buf, c.Tag, c.UID)
	return s.items(ctx, a, res, c.UID)
}

// items writes the items of an ESEARCH response and ends it.
func (s *Session) items(ctx context.Context, a *imapwire.Search, res *result, uid bool) error {
	b := res.appendItems(s.out.buf, a, uid)
	if a.UsesModSeq() && len(res.uids) > 0 {
		at, err := s.shownModSeq(ctx, a, res)
		if err != nil {
			return err
		}
		b = imapwire.AppendNumber(append(b, " MODSEQ "...), at)
	}
	s.out.buf = append(b, "\r\n"...)
	return nil
}

// shownModSeq is the largest MODSEQ of what the answer shows (RFC 7162 3.1.10, 9394 3.4).
func (s *Session) shownModSeq(ctx context.Context, a *imapwire.Search, res *result) (mail.ModSeq, error) {
	if res.showsAll(a) {
		return res.modSeq, nil
	}
	v, err := s.current(ctx)
	if err != nil {
		return 0, err
	}
	at := mail.ModSeq(0)
	err = s.eachFlags(v, res.box.id, res.shown(a), func(f *mail.MessageFlags) { at = max(at, f.ModSeq) })
	return at, err
}
