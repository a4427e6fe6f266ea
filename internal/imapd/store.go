package imapd

import (
	"context"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// store is STORE and UID STORE (RFC 3501, 7162).
func (s *Session) store(ctx context.Context, c *imapwire.Command, a *imapwire.Store) (answer, error) {
	uids, err := s.resolve(a.Set, c.UID)
	if err != nil {
		return answer{}, err
	}
	if a.UnchangedSince != nil {
		s.enableCondStore()
	}
	ans := ok(c.Name + " completed")
	if a.Silent && s.resumed.number == s.number {
		// The change may have been made before others' that are told now, and a client puts
		// its own on top of what it is told before the tagged answer.
		ans.again = s.box.told.Flags
	}
	modified, err := s.storeFlags(ctx, a, uids, &ans)
	if err != nil {
		return answer{}, err
	}
	if err := s.echo(ctx, c, a, uids, modified, &ans); err != nil {
		return answer{}, err
	}
	if len(modified) > 0 {
		ans.text = "Conditional STORE failed"
		ans.code = "MODIFIED " + s.named(modified, c.UID)
	}
	return ans, nil
}

// storeFlags makes the changes and notes them in ans. It returns the UIDs left
// alone because they changed after UNCHANGEDSINCE.
func (s *Session) storeFlags(ctx context.Context, a *imapwire.Store, uids mail.UIDSet, ans *answer) (modified mail.UIDSet, err error) {
	op := mail.Store{Mailbox: s.box.id, Mode: a.Mode, Flags: a.Flags.System, Keywords: a.Flags.Keywords}
	if a.UnchangedSince != nil {
		since := mail.ModSeq(*a.UnchangedSince)
		op.UnchangedSince = &since
	}
	before, err := s.quiet(ctx, a)
	if err != nil {
		return nil, err
	}
	for i, part := range split(uids, mail.MaxTouched) {
		op.UIDs = part
		res, err := s.do(ctx, i, op)
		if err != nil {
			return nil, err
		}
		modified = append(modified, res.Modified...)
		if res.ModSeq == 0 {
			continue
		}
		if before++; !a.Silent || res.ModSeq == before {
			ans.told = append(ans.told, told{res.UIDs, res.ModSeq})
		}
	}
	return modified, nil
}

// quiet is for .SILENT: what others have changed must not be hidden with what the
// client changes. It announces all there is, and returns the account's MODSEQ: if
// the next one is the client's, nobody else's change came between.
func (s *Session) quiet(ctx context.Context, a *imapwire.Store) (mail.ModSeq, error) {
	if !a.Silent {
		return 0, nil
	}
	if err := s.sync(ctx, update{}); err != nil {
		return 0, err
	}
	v, err := s.current(ctx)
	if err != nil {
		return 0, err
	}
	account, err := v.Account()
	return account.ModSeq, err
}

// echo writes the FETCH responses of STORE: the flags of all messages named that
// are still there, or, where .SILENT asked for none, the new MODSEQs of a session
// with CONDSTORE (RFC 7162 3.1.3).
func (s *Session) echo(ctx context.Context, c *imapwire.Command, a *imapwire.Store, uids, modified mail.UIDSet, ans *answer) error {
	if a.Silent && !s.condStore() {
		return nil
	}
	v, err := s.current(ctx)
	if err != nil {
		return err
	}
	info, err := s.selected(v)
	if err != nil {
		return err
	}
	s.announceKeywords(&info)
	u := update{told: ans.told}
	found := 0
	err = s.eachFlags(v, s.box.id, uids, func(f *mail.MessageFlags) {
		found++
		switch {
		case modified.Contains(f.UID):
		case !a.Silent:
			s.fetchFlags(f, info.Keywords, c.UID)
		case u.hasTold(f):
			b := s.fetchHead(s.box.uids.number(f.UID), f.UID, c.UID || s.qresync())
			s.out.buf = append(appendModSeq(b, f.ModSeq), ")\r\n"...)
		}
	})
	if err == nil && !c.UID && !a.Silent && found < uids.Len() { // RFC 2180 4.2
		ans.status, ans.code, ans.text = imapwire.NO, imapwire.CodeExpungeIssued, "Some of the messages have been deleted"
	}
	return err
}

// named is a set as the client names messages: by UID or by number.
func (s *Session) named(uids mail.UIDSet, uid bool) string {
	if !uid {
		uids = s.box.numbersOf(uids)
	}
	return uids.String()
}
