package imapd

import (
	"context"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/session"
)

var features = map[string]session.Features{
	"CONDSTORE":   session.CondStore,
	"QRESYNC":     session.CondStore | session.QResync,
	"UIDONLY":     session.UIDOnly,
	"UTF8=ACCEPT": session.UTF8,
}

// enable is ENABLE (RFC 5161): unknown names are passed over.
func (s *Session) enable(_ context.Context, _ *imapwire.Command, e *imapwire.Enable) (answer, error) {
	line := "ENABLED"
	for _, name := range e.Names {
		f, known := features[name]
		if !known || s.enabled&f == f {
			continue
		}
		line += " " + name
		if f&session.CondStore != 0 {
			s.enableCondStore()
		}
		s.enableFeatures(f)
	}
	s.out.untagged(line)
	return ok("ENABLE completed"), nil
}

// enableCondStore enables CONDSTORE, by ENABLE or by a command that implies it,
// and tells HIGHESTMODSEQ of the selected mailbox (RFC 7162 3.1).
func (s *Session) enableCondStore() {
	if s.condStore() {
		return
	}
	s.enableFeatures(session.CondStore)
	if s.box != nil {
		s.out.status(highestCode(s.box.told.Flags), "Highest")
	}
}
