package imapd

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// result is what a search has found.
type result struct {
	uids   mail.UIDSet
	first  mail.ModSeq // of the lowest message
	last   mail.ModSeq // of the highest
	modSeq mail.ModSeq // the largest of all
}

// search is SEARCH and UID SEARCH (RFC 3501, 4731, 5182, 7162).
func (s *Session) search(ctx context.Context, c *imapwire.Command, a *imapwire.Search) (answer, error) {
	if a.Charset && s.enabled&session.UTF8 != 0 {
		return bad("CHARSET is not allowed after ENABLE UTF8=ACCEPT"), nil // RFC 6855 3
	}
	if s.rev2() && !a.Extended {
		a.Extended, a.Return = true, imapwire.ReturnAll
	}
	if a.UsesModSeq() {
		s.enableCondStore()
	}
	save := a.Return&imapwire.ReturnSave != 0
	res, err := s.find(ctx, &a.Program)
	if err != nil {
		if save && !errors.Is(err, errNumber) {
			s.save(nil) // RFC 5182 2.1: NO empties the variable, BAD does not
		}
		return answer{}, err
	}
	switch {
	case a.Extended:
		s.extendedResult(c, a, res)
	default:
		s.plainResult(c, a, res)
	}
	if !save {
		return ok("SEARCH completed"), nil
	}
	keep := chosen(a, res.uids)
	if len(keep) > session.MaxRanges {
		s.save(nil)
		return no("NOTSAVED", "Result is too scattered to be saved"), nil
	}
	s.save(keep)
	return ok("SEARCH completed"), nil
}

// save sets what "$" stands for.
func (s *Session) save(uids mail.UIDSet) {
	s.saved = uids
	s.out.delta.Saved = &uids
}

// chosen is what SAVE keeps: all, or what MIN and MAX gave if nothing else was
// asked for (RFC 5182 2.4).
func chosen(a *imapwire.Search, uids mail.UIDSet) mail.UIDSet {
	ends := a.Return & (imapwire.ReturnMin | imapwire.ReturnMax)
	if ends == 0 || a.Return&(imapwire.ReturnAll|imapwire.ReturnCount) != 0 || len(uids) == 0 {
		return uids
	}
	var set mail.UIDSet
	if ends&imapwire.ReturnMin != 0 {
		set = set.Add(uids[0].Lo)
	}
	if ends&imapwire.ReturnMax != 0 {
		set = set.Add(uids[len(uids)-1].Hi)
	}
	return set
}

// find looks at every message that the program may match.
func (s *Session) find(ctx context.Context, program *imapwire.SearchKey) (result, error) {
	var res result
	m, err := s.compile(ctx, program)
	if err != nil {
		return res, err
	}
	c := &candidate{content: new(content)} // one for all: most tests look at flags alone
	err = s.walk(ctx, m.among, m.messages, func(w *row) error {
		c.row, *c.content = w, content{s: s, msg: w.msg}
		defer c.close()
		hit, err := m.test(ctx, c)
		if err != nil || !hit {
			return s.unsearchable(w.flags.UID, err)
		}
		if len(res.uids) == 0 {
			res.first = w.flags.ModSeq
		}
		res.last = w.flags.ModSeq
		res.modSeq = max(res.modSeq, w.flags.ModSeq)
		res.uids = res.uids.Add(w.flags.UID)
		return nil
	})
	return res, err
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

// plainResult writes SEARCH.
func (s *Session) plainResult(c *imapwire.Command, a *imapwire.Search, res result) {
	b := append(s.out.buf, "* SEARCH"...)
	for u := range res.uids.All() {
		b = append(b, ' ')
		if c.UID {
			b = imapwire.AppendNumber(b, u)
		} else {
			b = imapwire.AppendNumber(b, s.box.uids.number(u))
		}
	}
	if a.UsesModSeq() && len(res.uids) > 0 {
		b = append(b, " (MODSEQ "...)
		b = append(imapwire.AppendNumber(b, res.modSeq), ')')
	}
	s.out.buf = append(b, "\r\n"...)
}

// extendedResult writes ESEARCH; nothing if SAVE alone was asked for.
func (s *Session) extendedResult(c *imapwire.Command, a *imapwire.Search, res result) {
	if a.Return == imapwire.ReturnSave {
		return
	}
	set := res.uids
	if !c.UID {
		set = s.box.numbersOf(set)
	}
	line := fmt.Sprintf("ESEARCH (TAG %s)", imapwire.AppendString(nil, c.Tag))
	if c.UID {
		line += " UID"
	}
	if len(set) > 0 {
		if a.Return&imapwire.ReturnMin != 0 {
			line += fmt.Sprintf(" MIN %d", set[0].Lo)
		}
		if a.Return&imapwire.ReturnMax != 0 {
			line += fmt.Sprintf(" MAX %d", set[len(set)-1].Hi)
		}
		if a.Return&imapwire.ReturnAll != 0 {
			line += " ALL " + set.String()
		}
	}
	if a.Return&imapwire.ReturnCount != 0 {
		line += fmt.Sprintf(" COUNT %d", set.Len())
	}
	if a.UsesModSeq() && len(set) > 0 {
		line += fmt.Sprintf(" MODSEQ %d", shownModSeq(a, res))
	}
	s.out.untagged(line)
}

// shownModSeq is the largest MODSEQ of what the answer shows (RFC 7162 3.1.10).
func shownModSeq(a *imapwire.Search, res result) mail.ModSeq {
	switch a.Return &^ imapwire.ReturnSave {
	case imapwire.ReturnMin:
		return res.first
	case imapwire.ReturnMax:
		return res.last
	case imapwire.ReturnMin | imapwire.ReturnMax:
		return max(res.first, res.last)
	}
	return res.modSeq
}
