package imapd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// adminEntry says how to reach the server's administrator; clients cannot set it
// (RFC 5464 3.2.1.1).
const adminEntry = "/shared/admin"

// maxMetadata is how many octets of values one answer has.
const maxMetadata = 8 << 20

var errMetadataSize = fmt.Errorf("values of more than %d octets: %w", maxMetadata, mail.ErrLimit)

// metadataOwner is whose metadata a name means: one's own account's, for the empty one.
// The refusal of a user who may not ask for it.
func (s *Session) metadataOwner(ctx context.Context, name string) (mail.View, mail.MailboxInfo, error) {
	if name == "" {
		s.work(&s.home)
		v, err := s.current(ctx)
		return v, mail.MailboxInfo{}, err
	}
	v, info, err := s.lookup(ctx, name)
	if err == nil && !info.Rights.Annotates() {
		err = need(&info, mail.AllRights)
	}
	return v, info, err
}

// getMetadata is GETMETADATA (RFC 5464 4.2).
func (s *Session) getMetadata(ctx context.Context, c *imapwire.Command, a *imapwire.GetMetadata) (answer, error) {
	v, owner, err := s.metadataOwner(ctx, a.Mailbox)
	if err != nil {
		return answer{}, err
	}
	long, err := s.metadataLine(v, owner.ID, a)
	if err != nil {
		return answer{}, err
	}
	if long > 0 {
		return okCode("METADATA LONGENTRIES "+strconv.Itoa(long), c.Name+" completed"), nil
	}
	return ok(c.Name + " completed"), nil
}

// metadataLine writes a METADATA response with values, none if there are no entries to
// tell. long is the size of the largest value above MAXSIZE, 0 if there is none.
func (s *Session) metadataLine(v mail.View, of mail.MailboxID, a *imapwire.GetMetadata) (long int, err error) {
	b := append(s.out.buf, "* METADATA "...)
	b = append(s.appendName(b, a.Mailbox), " ("...)
	first, total := true, 0
	told := map[string]bool{}
	tell := func(name string, value []byte) {
		if told[name] {
			return
		}
		if told[name] = true; value != nil && a.MaxSize != nil && uint64(len(value)) > *a.MaxSize {
			long = max(long, len(value))
			return
		}
		if total += len(value); total > maxMetadata {
			return
		}
		if !first {
			b = append(b, ' ')
		}
		first = false
		b = append(imapwire.AppendAString(b, name), ' ')
		if value == nil {
			b = append(b, "NIL"...)
		} else {
			b = imapwire.AppendOctets(b, value)
		}
	}
	for _, name := range a.Entries {
		for e, err := range v.Metadata(of, name) {
			if err != nil {
				return 0, err
			}
			if asksFor(e.Name, name, a.Depth) {
				tell(e.Name, e.Value)
			}
		}
		if a.Depth == imapwire.DepthNone {
			tell(name, nil) // unless it was told
		}
	}
	if total > maxMetadata {
		return 0, errMetadataSize
	}
	if !first {
		s.out.buf = append(b, ")\r\n"...)
	}
	return long, nil
}

// asksFor reports whether an entry is the one asked for, or below it and not too deep.
func asksFor(name, asked string, depth imapwire.Depth) bool {
	below, ok := strings.CutPrefix(name, asked)
	switch {
	case !ok, below != "" && below[0] != '/':
		return false
	case below == "", depth == imapwire.DepthAll:
		return true
	}
	return depth == imapwire.DepthOne && strings.Count(below, "/") == 1
}

// setMetadata is SETMETADATA (RFC 5464 4.3).
func (s *Session) setMetadata(ctx context.Context, c *imapwire.Command, a *imapwire.SetMetadata) (answer, error) {
	_, owner, err := s.metadataOwner(ctx, a.Mailbox)
	if err != nil {
		return answer{}, err
	}
	for _, e := range a.Entries {
		if e.Name == adminEntry && a.Mailbox == "" {
			return no(imapwire.CodeCannot, "The server sets this entry"), nil
		}
	}
	_, err = s.do(ctx, 0, mail.SetMetadata{Mailbox: owner.ID, Entries: a.Entries})
	switch {
	case errors.Is(err, mail.ErrTooLarge):
		return no("METADATA MAXSIZE "+strconv.Itoa(mail.MaxMetadataValue), "Value is too large"), nil
	case errors.Is(err, mail.ErrCannot):
		return no("METADATA NOPRIVATE", "Private entries are the owner's alone"), nil
	case errors.Is(err, mail.ErrLimit):
		return no("METADATA TOOMANY", "Too many entries"), nil
	}
	return ok(c.Name + " completed"), err
}
