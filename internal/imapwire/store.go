package imapwire

import (
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
)

// Store is STORE and UID STORE.
type Store struct {
	Set            SeqSet
	Mode           mail.StoreMode
	Silent         bool
	Flags          FlagList
	UnchangedSince *uint64 // RFC 7162 3.1.3
}

func (l *lexer) store() (any, error) {
	s := new(Store)
	var err error
	if s.Set, err = l.argSet(); err != nil {
		return nil, err
	}
	if err = l.space(); err != nil {
		return nil, err
	}
	if l.peek() == '(' {
		if err = l.storeModifiers(s); err != nil {
			return nil, err
		}
		if err = l.space(); err != nil {
			return nil, err
		}
	}
	if err = l.storeItem(s); err != nil {
		return nil, err
	}
	if err = l.space(); err != nil {
		return nil, err
	}
	if l.peek() == '(' {
		s.Flags, err = l.flagList()
	} else {
		s.Flags, err = l.bareFlags()
	}
	return s, err
}

func (l *lexer) storeModifiers(s *Store) error {
	return l.list(maxItems, false, func() error {
		w, err := l.word()
		if err != nil {
			return err
		}
		if w != "UNCHANGEDSINCE" || s.UnchangedSince != nil {
			return syntax("No such STORE modifier")
		}
		s.UnchangedSince, err = l.modseqArg()
		return err
	})
}

func (l *lexer) storeItem(s *Store) error {
	w, err := l.word()
	if err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(w, "+"):
		s.Mode = mail.AddFlags
	case strings.HasPrefix(w, "-"):
		s.Mode = mail.RemoveFlags
	}
	switch strings.TrimLeft(w, "+-") {
	case "FLAGS":
	case "FLAGS.SILENT":
		s.Silent = true
	default:
		return syntax("STORE knows FLAGS, +FLAGS and -FLAGS, each with or without .SILENT")
	}
	if len(w)-len(strings.TrimLeft(w, "+-")) > 1 {
		return syntax("More than one sign before FLAGS")
	}
	return nil
}
