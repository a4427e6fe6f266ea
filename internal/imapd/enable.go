package imapd

import (
	"context"
	"strings"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/session"
)

// features are what a client may enable, by upper-case name.
var features = map[string]session.Features{
	"IMAP4REV2":   session.Rev2,
	"CONDSTORE":   session.CondStore,
	"QRESYNC":     session.CondStore | session.QResync,
	"UIDONLY":     session.UIDOnly,
	"UTF8=ACCEPT": session.UTF8,

	"METADATA":        session.Metadata | session.MetadataServer,
	"METADATA-SERVER": session.MetadataServer,
}

// enable is ENABLE (RFC 5161): unknown names are passed over.
func (s *Session) enable(ctx context.Context, _ *imapwire.Command, e *imapwire.Enable) (answer, error) {
	line := "ENABLED"
	for _, name := range e.Names {
		f, known := features[name]
		if !known || s.enabled&f == f {
			continue
		}
		if line += " " + name; f == session.Rev2 {
			line = strings.TrimSuffix(line, name) + "IMAP4rev2"
			s.enableRev2()
		}
		if f&session.CondStore != 0 {
			s.enableCondStore()
		}
		if f&session.MetadataServer != 0 {
			if err := s.beginFollowing(ctx); err != nil {
				return answer{}, err
			}
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
