package imapd

import (
	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// \Recent belongs to the session that is told of a message first (RFC 3501 2.3.2).
// The account keeps, for each user and mailbox, up to where somebody has been told;
// what is above it is recent, and a session that may change the mailbox raises it
// without waiting for copies. When that is lost with the master messages are recent twice; not at all only those
// of a SELECT whose answer is lost. IMAP4rev2 has no \Recent.

// maxRecent bounds the ranges of a session's recent messages, which are part of every
// delta. Beyond it only the newest are recent.
const maxRecent = 1000

func (s *Session) hasRecent() bool { return !s.rev2() }

// meet makes those messages of the picture recent, from the UID given on, that no
// session has been told of. It reports whether there are any.
func (s *Session) meet(v mail.View, from mail.UID) (bool, error) {
	b := s.box
	if !s.hasRecent() || b.told.UIDNext <= from {
		return false, nil
	}
	last := b.told.UIDNext - 1
	mark, err := v.Recent(b.id, s.cfg.User)
	if err == nil && mark < last && !b.readOnly() {
		mark = max(mark, s.at.account.SetRecent(b.id, s.cfg.User, last))
	}
	if from < b.unsure {
		mark = 0 // what raised it may be an answer of this session that was lost
	}
	if err != nil || mark >= last {
		return false, err
	}
	met := b.uids.among(mail.UIDSet{{Lo: max(from, mark+1), Hi: last}})
	all := mail.NewUIDSet(append(met, b.told.Recent...)...)
	b.told.Recent = all[max(0, len(all)-maxRecent):]
	return len(met) > 0, nil
}

func (s *Session) recent() {
	if !s.hasRecent() {
		return
	}
	s.out.buf = append(s.out.buf, "* "...)
	s.out.buf = imapwire.AppendNumber(s.out.buf, s.box.told.Recent.Len())
	s.out.buf = append(s.out.buf, " RECENT\r\n"...)
}

// recentIn counts the recent messages of a mailbox for STATUS.
func (s *Session) recentIn(v mail.View, id mail.MailboxID) (n int, err error) {
	switch {
	case !s.hasRecent():
		return 0, nil
	case s.box != nil && s.box.id == id:
		return s.box.told.Recent.Len(), nil
	}
	mark, err := v.Recent(id, s.cfg.User)
	if err != nil || mark == maxUID {
		return 0, err
	}
	for _, err := range v.Flags(id, mark+1, maxUID, 0) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// appendFlags appends the flags of a message in the picture.
func (s *Session) appendFlags(b []byte, f *mail.MessageFlags, keywords []string) []byte {
	b = imapwire.AppendFlags(b, f.Flags, f.Keywords, keywords)
	if !s.box.told.Recent.Contains(f.UID) {
		return b
	}
	if b = b[:len(b)-1]; b[len(b)-1] != '(' {
		b = append(b, ' ')
	}
	return append(b, `\Recent)`...)
}
