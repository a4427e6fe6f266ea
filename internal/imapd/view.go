package imapd

import (
	"context"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
)

// maxViewAge is how long a command works with one View, which pins disk space.
const maxViewAge = 10 * time.Second

// lease is the View of the running command.
type lease struct {
	v     mail.View
	since time.Time
}

// current is the command's View. It is opened when first asked for after the
// command's last change, and anew when it has become old.
func (s *Session) current(ctx context.Context) (mail.View, error) {
	now := s.cfg.Now()
	if s.view.v != nil && now.Sub(s.view.since) < maxViewAge {
		return s.view.v, nil
	}
	s.closeView()
	v, err := s.at.account.View(ctx)
	if err != nil {
		return nil, err
	}
	if s.at.away() {
		if err := s.at.sameHistory(v); err != nil {
			v.Close()
			return nil, err
		}
	}
	s.view = lease{v, now}
	return v, nil
}

func (s *Session) closeView() {
	if s.view.v != nil {
		s.opens.Wait()
		s.view.v.Close()
		s.view = lease{}
	}
}
