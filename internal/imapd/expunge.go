package imapd

import (
	"context"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

var everything = mail.NewUIDSet(mail.UIDRange{Lo: 1, Hi: maxUID})

// expunge is EXPUNGE and UID EXPUNGE (RFC 4315). The untagged responses are those
// that sync writes.
func (s *Session) expunge(ctx context.Context, c *imapwire.Command) (answer, error) {
	uids := everything
	if a, ok := c.Args.(*imapwire.Expunge); ok {
		var err error
		if uids, err = s.resolve(a.Set, true); err != nil {
			return answer{}, err
		}
	}
	removed, err := s.removeDeleted(ctx, uids)
	if err != nil {
		return answer{}, err
	}
	ans := ok("EXPUNGE completed")
	ans.highest = len(removed) > 0
	return ans, nil
}

// removeDeleted removes those of uids that are marked \Deleted, in as many
// operations as it takes. It returns their MODSEQs.
func (s *Session) removeDeleted(ctx context.Context, uids mail.UIDSet) (removed []mail.ModSeq, err error) {
	for chunk := 0; len(uids) > 0; chunk++ {
		res, err := s.do(ctx, chunk, mail.Expunge{Mailbox: s.box.id, UIDs: uids})
		if err != nil {
			return nil, err
		}
		if res.ModSeq != 0 {
			removed = append(removed, res.ModSeq)
		}
		if !res.More {
			break
		}
	}
	return removed, nil
}
