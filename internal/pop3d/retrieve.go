package pop3d

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// unitSize is the octets of an answer up to which it is one unit, kept in memory.
const unitSize = 64 << 10

// retrieve is RETR, which marks the message \Seen.
func (s *Session) retrieve(ctx context.Context, numbers []int) (string, error) {
	return s.send(ctx, numbers[0], -1)
}

// top is TOP: the header and some lines of the body (RFC 1939 7).
func (s *Session) top(ctx context.Context, numbers []int) (string, error) {
	return s.send(ctx, numbers[0], numbers[1])
}

func (s *Session) send(ctx context.Context, number, lines int) (string, error) {
	e, err := s.drop.at(number)
	if err != nil {
		return "", err
	}
	octets, seen, err := s.open(ctx, e.uid)
	if errors.Is(err, mail.ErrNoMessage) && s.inside() != nil {
		err = s.cut()
	}
	if err != nil {
		return "", err
	}
	defer octets.Close()
	if lines < 0 && !seen {
		s.see(ctx, e.uid)
	}
	content := func() io.Reader { return newStuffed(io.NewSectionReader(octets, 0, octets.Size()), lines) }
	first := fmt.Appendf(nil, "+OK %d octets\r\n", octets.Size())
	if lines >= 0 {
		first = []byte("+OK\r\n")
	}
	return "", s.tell(ctx, e.uid, first, content)
}

// open finds a message's octets, and whether it is \Seen.
func (s *Session) open(ctx context.Context, uid mail.UID) (c mail.Content, seen bool, err error) {
	v, err := s.account.View(ctx)
	if err != nil {
		return nil, false, err
	}
	defer v.Close()
	m, err := v.Message(s.drop.id, uid)
	if err != nil {
		return nil, false, err
	}
	for f, err := range v.Flags(s.drop.id, uid, uid, 0) {
		if err != nil {
			return nil, false, err
		}
		seen = f.Flags&mail.Seen != 0
	}
	c, err = v.Open(ctx, m)
	return c, seen, err
}

// see sets \Seen. The message is given whatever comes of that.
func (s *Session) see(ctx context.Context, uid mail.UID) {
	_, err := s.do(ctx, 0, mail.Store{
		Mailbox: s.drop.id, UIDs: mail.NewUIDSet(mail.UIDRange{Lo: uid, Hi: uid}), Mode: mail.AddFlags, Flags: mail.Seen,
	})
	if err != nil {
		s.log.Warn("message could not be marked as seen", "uid", uint32(uid), "err", err)
	}
}

// tell gives an answer of several lines: in one unit if it is small, else as a
// literal whose length is found by reading it once.
func (s *Session) tell(ctx context.Context, uid mail.UID, first []byte, content func() io.Reader) error {
	inside := s.inside()
	if inside == nil {
		small, err := io.ReadAll(io.LimitReader(content(), unitSize+1))
		if err != nil {
			return fmt.Errorf("read message %d: %w", uid, err)
		}
		if len(small) <= unitSize {
			return s.out.unit(ctx, append(append(first, small...), ".\r\n"...))
		}
	}
	length, err := io.Copy(io.Discard, content())
	if err != nil {
		return fmt.Errorf("read message %d: %w", uid, err)
	}
	at := session.Place{UID: uid, Length: length}
	r := content()
	if inside != nil {
		if inside.UID != uid || inside.Length != length || inside.Octet > length {
			return s.cut()
		}
		at.Octet = inside.Octet
		_, err = io.CopyN(io.Discard, r, at.Octet)
	} else {
		err = s.out.unit(ctx, first)
	}
	if err == nil {
		err = s.out.stream(ctx, at, r)
	}
	if err != nil {
		return lost(err)
	}
	return s.out.unit(ctx, []byte(".\r\n"))
}

// inside is where the client waits inside the answer to this command; nil: nowhere.
func (s *Session) inside() *session.Place {
	if s.resumed.number != s.number {
		return nil
	}
	return s.resumed.inside
}

// cut says that the answer which the client has begun to read cannot be ended.
func (s *Session) cut() error {
	p := s.inside()
	return fmt.Errorf("%w: message %d cannot be read on from octet %d", session.ErrNotResumable, p.UID, p.Octet)
}
