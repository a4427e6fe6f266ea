package imapd

import (
	"context"
	"fmt"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// selectMailbox is SELECT and EXAMINE. Whatever comes of it, the mailbox selected
// before is so no more (RFC 9051 6.3.2).
func (s *Session) selectMailbox(ctx context.Context, c *imapwire.Command, a *imapwire.Select) (answer, error) {
	if q := a.QResync; q != nil && !s.qresync() {
		return bad("QRESYNC needs ENABLE QRESYNC"), nil
	} else if q != nil && s.uidOnly() && len(q.Match.Numbers) > 0 {
		return uidRequired, nil
	}
	s.leave()
	v, info, err := s.lookup(ctx, a.Mailbox)
	if err != nil {
		return answer{}, err
	}
	if err := need(&info, mail.MayRead); err != nil {
		return answer{}, err
	}
	b, unseen, err := picture(v, &info)
	if err != nil {
		return answer{}, err
	}
	b.at, b.examined = s.at, a.ReadOnly
	s.cfg.Pictures.share(b.id, &b.uids)
	s.box = b
	if _, err := s.meet(v, 1); err != nil {
		return answer{}, err
	}
	if a.CondStore {
		s.enableFeatures(session.CondStore)
	}
	s.describe(&info, unseen)
	if err := s.selectedName(ctx, &info, a.Given); err != nil {
		return answer{}, err
	}
	if a.QResync != nil {
		if err := s.resync(v, &info, a.QResync); err != nil {
			return answer{}, err
		}
	}
	s.out.delta.Selected = &session.Selected{
		Owner: s.at.owner, Fork: s.at.fork, Mailbox: b.id, UIDValidity: b.uidValidity, ReadOnly: b.examined, Announced: *b.announced(),
	}
	return okCode(b.access(), c.Name+" completed"), nil
}

// access is the code that says whether anything may be changed.
func (b *box) access() string {
	if b.readOnly() {
		return imapwire.CodeReadOnly
	}
	return imapwire.CodeReadWrite
}

func highestCode(m mail.ModSeq) string { return fmt.Sprintf("HIGHESTMODSEQ %d", m) }

// picture is a new picture of a mailbox, in which everything is announced, and
// the number of the first message that is not seen, or 0.
func picture(v mail.View, info *mail.MailboxInfo) (b *box, unseen uint32, err error) {
	b = &box{id: info.ID, uidValidity: info.UIDValidity, rights: info.Rights}
	for f, err := range v.Flags(info.ID, 1, maxUID, 0) {
		if err != nil {
			return nil, 0, err
		}
		b.arrive(f.UID)
		if unseen == 0 && f.Flags&mail.Seen == 0 {
			unseen = uint32(b.uids.len())
		}
	}
	at := info.HighestModSeq
	b.told.UIDNext = info.UIDNext
	b.told.Expunged = session.Cut{ModSeq: at}
	b.told.Flags, b.told.Highest = at, at
	b.told.Keywords = uint32(len(info.Keywords))
	return b, unseen, nil
}

// describe writes what SELECT tells of a mailbox.
func (s *Session) describe(info *mail.MailboxInfo, unseen uint32) {
	s.flagLines(info)
	s.exists()
	s.recent()
	if unseen != 0 && !s.uidOnly() && !s.rev2() {
		s.out.status(fmt.Sprintf("UNSEEN %d", unseen), "First unseen")
	}
	s.out.status(fmt.Sprintf("UIDVALIDITY %d", info.UIDValidity), "UIDs valid")
	s.out.status(fmt.Sprintf("UIDNEXT %d", info.UIDNext), "Predicted next UID")
	s.out.status(highestCode(info.HighestModSeq), "Highest")
	s.out.status(fmt.Sprintf("MAILBOXID (%s)", info.ID), "Object id")
	s.out.status(imapwire.CodeURLMech, "How URLs are authorised")
}

// leave ends the selected state, if there is one, and says so.
func (s *Session) leave() {
	if s.box != nil {
		s.deselect()
		s.out.status(imapwire.CodeClosed, "Previous mailbox is closed")
	}
}

func (s *Session) deselect() {
	s.box, s.saved, s.contexts = nil, nil, nil
	s.out.delta.Merge(session.Delta{Closed: true})
}
