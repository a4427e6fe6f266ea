package pop3d

import (
	"context"
	"fmt"

	"github.com/tandemail/tandemail/internal/mail"
)

// mark is DELE.
func (s *Session) mark(_ context.Context, numbers []int) (string, error) {
	e, err := s.drop.at(numbers[0])
	if err != nil {
		return "", err
	}
	s.setMarks(s.drop.marked.Add(e.uid))
	return fmt.Sprintf("+OK Message %d is marked for removal", numbers[0]), nil
}

// reset is RSET.
func (s *Session) reset(context.Context, []int) (string, error) {
	s.setMarks(nil)
	return "+OK", nil
}

// noop is NOOP.
func (s *Session) noop(context.Context, []int) (string, error) { return "+OK", nil }

func (s *Session) setMarks(marked mail.UIDSet) {
	s.drop.marked = marked
	s.out.delta.Saved = &marked
}

// quit is QUIT: it enters the UPDATE state and leaves it. Messages that have gone
// meanwhile are as well removed.
func (s *Session) quit(ctx context.Context, _ []int) (string, error) {
	left := s.drop.marked
	for chunk := 0; len(left) > 0; chunk++ {
		res, err := s.do(ctx, chunk, mail.Expunge{Mailbox: s.drop.id, UIDs: left, Unmarked: true})
		if err != nil {
			return "", fmt.Errorf("remove marked messages: %w", err)
		}
		if !res.More {
			break
		}
	}
	s.Close() // before the answer: the client may come again at once
	return "+OK Bye", nil
}
