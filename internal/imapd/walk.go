package imapd

import (
	"context"
	"fmt"
	"iter"

	"github.com/tandemail/tandemail/internal/mail"
)

// row is one message of the picture while a command looks at it.
type row struct {
	number uint32
	flags  mail.MessageFlags
	msg    mail.Message // without a UID: not read yet, see message
	ahead  *ahead
	at     int // its place among ahead.rows
}

// message gives the message's record, which is read together with those of the other
// rows when the first is asked for.
func (w *row) message(ctx context.Context) (*mail.Message, error) {
	if w.msg.UID == 0 {
		if err := w.ahead.load(ctx); err != nil {
			return nil, err
		}
		if w.msg.UID == 0 {
			return nil, fmt.Errorf("message %d: %w", w.flags.UID, mail.ErrNoMessage)
		}
	}
	return &w.msg, nil
}

// walkChunk is how many messages are read from a View at once.
const walkChunk = 256

// maxGap is how many UIDs that are not wanted are read over: beyond it a second
// look into the index costs less.
const maxGap = 64

// walk calls visit for those of uids in b that still exist, in order. A View may be
// closed between two calls: what visit keeps is its own.
func (s *Session) walk(ctx context.Context, b *box, uids mail.UIDSet, visit func(*row) error) error {
	rows := make([]row, 0, min(uids.Len(), walkChunk))
	ahead := newAhead(s, b)
	defer ahead.end()
	for part := range spans(uids) {
		if err := ctx.Err(); err != nil {
			return err
		}
		v, err := s.current(ctx)
		if err != nil {
			return err
		}
		if rows, err = b.readRows(v, part, rows[:0]); err != nil {
			return err
		}
		ahead.next(rows)
		for i := range rows {
			if err := visit(&rows[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// spans cuts a set into parts that are read at once.
func spans(set mail.UIDSet) iter.Seq[mail.UIDSet] {
	return func(yield func(mail.UIDSet) bool) {
		for _, part := range split(set, walkChunk) {
			start := 0
			for i := 1; i <= len(part); i++ {
				if i < len(part) && part[i].Lo-part[i-1].Hi <= maxGap {
					continue
				}
				if !yield(part[start:i]) {
					return
				}
				start = i
			}
		}
	}
}

func (b *box) readRows(v mail.View, part mail.UIDSet, rows []row) ([]row, error) {
	lo, hi := part[0].Lo, part[len(part)-1].Hi
	for f, err := range v.Flags(b.id, lo, hi, 0) {
		if err != nil {
			return nil, err
		}
		if part.Contains(f.UID) {
			rows = append(rows, row{number: b.uids.number(f.UID), flags: f})
		}
	}
	return rows, nil
}

// readMessages reads the records of rows.
func (b *box) readMessages(v mail.View, rows []row) error {
	if len(rows) == 0 {
		return nil
	}
	i := 0
	for m, err := range v.Messages(b.id, rows[0].flags.UID, rows[len(rows)-1].flags.UID) {
		if err != nil {
			return err
		}
		for i < len(rows) && rows[i].flags.UID < m.UID {
			i++
		}
		if i < len(rows) && rows[i].flags.UID == m.UID {
			rows[i].msg = m
		}
	}
	return nil
}

// eachFlags is walk for a command that needs flags alone, in one View.
func (s *Session) eachFlags(v mail.View, id mail.MailboxID, uids mail.UIDSet, visit func(*mail.MessageFlags)) error {
	for part := range spans(uids) {
		for f, err := range v.Flags(id, part[0].Lo, part[len(part)-1].Hi, 0) {
			if err != nil {
				return err
			}
			if part.Contains(f.UID) {
				visit(&f)
			}
		}
	}
	return nil
}
