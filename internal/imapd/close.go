package imapd

import (
	"context"

	"github.com/tandemail/tandemail/internal/imapwire"
)

// closeMailbox is CLOSE: it removes what is marked \Deleted, unless the mailbox is
// read-only, and tells nothing of it.
func (s *Session) closeMailbox(ctx context.Context, _ *imapwire.Command) (answer, error) {
	if !s.box.readOnly {
		if err := s.removeDeleted(ctx, everything); err != nil {
			return answer{}, err
		}
	}
	s.deselect()
	return ok("CLOSE completed"), nil
}

// unselect is UNSELECT (RFC 3691).
func (s *Session) unselect(context.Context, *imapwire.Command) (answer, error) {
	s.deselect()
	return ok("UNSELECT completed"), nil
}
