package imapd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// urlError is a part of CATENATE that does not lead to octets (RFC 4469 3).
type urlError struct{ url string }

func (e *urlError) Error() string { return fmt.Sprintf("nothing behind URL %q", e.url) }

// answer tells which URL it was, as far as a response code may have it.
func (e *urlError) answer() answer {
	if len(e.url) > 1000 || strings.ContainsFunc(e.url, func(r rune) bool { return r <= ' ' || r > '~' || r == ']' || r == '"' || r == '\\' }) {
		return no(imapwire.CodeBadURL, "A URL leads nowhere")
	}
	return no(imapwire.CodeBadURL+` "`+e.url+`"`, "The URL leads nowhere")
}

// assembly is a message put together of parts, readable at any place.
type assembly struct {
	parts   []assembled
	size    int64
	binary  bool // a part is a literal8
	closers []io.Closer
}

// assembled is one part and the place behind it.
type assembled struct {
	io.ReaderAt
	end int64
}

func (a *assembly) add(r io.ReaderAt, n int64) {
	a.size += n
	a.parts = append(a.parts, assembled{r, a.size})
}

// Close gives back what the parts hold.
func (a *assembly) Close() {
	for _, c := range a.closers {
		_ = c.Close() // read only
	}
}

// ReadAt implements io.ReaderAt.
func (a *assembly) ReadAt(p []byte, off int64) (n int, err error) {
	start := int64(0)
	for _, part := range a.parts {
		if len(p) == 0 {
			return n, nil
		}
		if off < part.end {
			k := int(min(part.end-off, int64(len(p))))
			m, err := part.ReadAt(p[:k], off-start)
			n, off, p = n+m, off+int64(m), p[m:]
			if m < k {
				return n, unexpected(err)
			}
		}
		start = part.end
	}
	if len(p) > 0 {
		return n, io.EOF
	}
	return n, nil
}

func unexpected(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// assemble opens all parts of a message. *urlError, mail.ErrTooLarge. The caller
// closes it either way.
func (s *Session) assemble(ctx context.Context, a *assembly, parts []imapwire.CatPart) error {
	for i := range parts {
		p := &parts[i]
		var err error
		if p.URL == "" {
			err = a.literal(p.Literal)
		} else {
			err = s.addURL(ctx, a, p.URL)
		}
		if err != nil {
			return err
		}
		if a.size > mail.MaxMessageSize {
			return fmt.Errorf("assemble message of %d octets: %w", a.size, mail.ErrTooLarge)
		}
	}
	return nil
}

func (a *assembly) literal(l imapwire.Literal) error {
	r, err := l.Open()
	if err != nil {
		return err
	}
	a.closers = append(a.closers, r)
	a.binary = a.binary || l.Binary
	a.add(r, l.Size)
	return nil
}

// addURL adds what a URL names of the mailboxes that the user may read. It sets no \Seen.
func (s *Session) addURL(ctx context.Context, a *assembly, url string) error {
	find := s.ownMessage
	if !strings.HasPrefix(url, "/") {
		find = s.authorisedMessage
	}
	msg, u, err := find(ctx, url)
	c := s.content(msg)
	var octets *io.SectionReader
	exists := false
	if err == nil {
		octets, exists, err = c.section(ctx, u.Section)
	}
	if c.octets != nil {
		a.closers = append(a.closers, c.octets)
	}
	switch {
	case errors.Is(err, errInvalid), errors.Is(err, mail.ErrNoMailbox), errors.Is(err, mail.ErrNoPerm), errors.Is(err, mail.ErrNoMessage), err == nil && !exists:
		return &urlError{url}
	case err != nil:
		return err
	}
	from, n := u.Window(octets.Size())
	a.add(io.NewSectionReader(octets, from, n), n)
	return nil
}

// ownMessage finds the message of a path in the user's mailboxes, and those of others.
func (s *Session) ownMessage(ctx context.Context, url string) (msg mail.Message, u imapwire.URL, err error) {
	if u, err = imapwire.ParseURL(url); err != nil {
		return msg, u, fmt.Errorf("%w: %w", errInvalid, err)
	}
	v, info, err := s.lookup(ctx, u.Mailbox)
	if err == nil {
		err = need(&info, mail.MayRead)
	}
	if err == nil && u.UIDValidity != 0 && u.UIDValidity != info.UIDValidity {
		err = mail.ErrNoMessage
	}
	if err == nil {
		msg, err = v.Message(info.ID, u.UID)
	}
	return msg, u, err
}

// authorisedMessage finds what another user, or this one, has authorised.
func (s *Session) authorisedMessage(ctx context.Context, url string) (mail.Message, imapwire.URL, error) {
	msg, u, err := s.followURL(ctx, url)
	return msg, u.URL, err
}
