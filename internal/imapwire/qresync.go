package imapwire

import "github.com/tandemail/tandemail/internal/mail"

// QResync is the QRESYNC parameter of SELECT and EXAMINE (RFC 7162 3.2.5): what a
// client remembers of the mailbox.
type QResync struct {
	UIDValidity mail.UIDValidity
	ModSeq      mail.ModSeq
	Known       mail.UIDSet // nil: every UID
	// Match has message numbers and UIDs that belonged together, in pairs: as many of
	// both, ascending. Empty if none were given.
	Match struct{ Numbers, UIDs mail.UIDSet }
}

// selectParameter takes one parameter of SELECT.
func (l *lexer) selectParameter(s *Select) error {
	w, err := l.word()
	switch {
	case err != nil:
		return err
	case w == "CONDSTORE":
		s.CondStore = true
		return nil
	case w == "QRESYNC" && s.QResync == nil:
		s.QResync = new(QResync)
		if err := l.space(); err != nil {
			return err
		}
		return l.qresync(s.QResync)
	}
	return syntax("No such parameter of SELECT")
}

func (l *lexer) qresync(q *QResync) error {
	if err := l.expect('('); err != nil {
		return err
	}
	validity, err := l.nonZero()
	if err != nil {
		return err
	}
	at, err := l.modseqArg()
	if err != nil {
		return err
	}
	if *at == 0 {
		return syntax("MODSEQ of QRESYNC must not be 0")
	}
	q.UIDValidity, q.ModSeq = mail.UIDValidity(validity), mail.ModSeq(*at)
	if !l.accept(' ') {
		return l.expect(')')
	}
	if l.peek() != '(' {
		if q.Known, err = l.knownSet(); err != nil {
			return err
		}
		if !l.accept(' ') {
			return l.expect(')')
		}
	}
	if err := l.match(q); err != nil {
		return err
	}
	return l.expect(')')
}

// match takes the sequence match data.
func (l *lexer) match(q *QResync) (err error) {
	if err = l.expect('('); err != nil {
		return err
	}
	if q.Match.Numbers, err = l.knownSet(); err != nil {
		return err
	}
	if err = l.space(); err != nil {
		return err
	}
	if q.Match.UIDs, err = l.knownSet(); err != nil {
		return err
	}
	if q.Match.Numbers.Len() != q.Match.UIDs.Len() {
		return syntax("As many UIDs as message numbers are needed")
	}
	return l.expect(')')
}

// knownSet takes a set in which nothing is open: numbers in ascending order.
func (l *lexer) knownSet() (mail.UIDSet, error) {
	set, err := l.sequenceSet()
	if err != nil {
		return nil, err
	}
	var parts []mail.UIDRange
	last := uint32(0)
	for _, r := range set.Ranges {
		if r.Lo == Star || r.Hi == Star {
			return nil, syntax("\"*\" is not allowed here")
		}
		if r.Lo <= last {
			return nil, syntax("A set must be in ascending order here")
		}
		last = r.Hi
		parts = append(parts, mail.UIDRange{Lo: mail.UID(r.Lo), Hi: mail.UID(r.Hi)})
	}
	if set.Saved {
		return nil, syntax("\"$\" is not allowed here")
	}
	return mail.NewUIDSet(parts...), nil
}
