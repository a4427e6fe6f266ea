package imapd

import (
	"context"
	"fmt"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// thread is THREAD and UID THREAD (RFC 5256 3, draft-ietf-morg-inthread 3).
func (s *Session) thread(ctx context.Context, c *imapwire.Command, a *imapwire.Thread) (answer, error) {
	if a.UsesModSeq() {
		s.enableCondStore()
	}
	res, err := s.find(ctx, s.box, &a.Program)
	if err != nil {
		return answer{}, err
	}
	f, err := s.threads(ctx, &res, a.Algorithm)
	if err != nil {
		return answer{}, fmt.Errorf("thread %d messages: %w", res.uids.Len(), err)
	}
	b := append(s.out.buf, "* THREAD"...)
	if f.first[root] != none {
		b = append(b, ' ')
	}
	b = f.append(b, func(u mail.UID) uint32 { return s.box.name(u, c.UID) })
	s.out.buf = append(b, "\r\n"...)
	return ok("THREAD completed"), nil
}

// threads gives the threads of what was found. errThreadSize.
func (s *Session) threads(ctx context.Context, res *result, by imapwire.ThreadAlgorithm) (*forest, error) {
	t := newThreader(by, res.uids.Len())
	if err := s.summarize(ctx, res.box.id, res.uids, t.add); err != nil {
		return nil, err
	}
	return t.finish(), nil
}
