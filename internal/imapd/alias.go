package imapd

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
)

// Clients that were set up for other servers have a prefix "INBOX." before all
// names. For them that is a second, hidden namespace: "INBOX.Work.2026" means
// "Work/2026" unless there is a name of exactly these octets. It is never listed.

// otherSeparator is that of the hidden namespace.
const otherSeparator = "."

// aliases is what a name means in the hidden namespace, the likelier first; nothing
// if it does not belong there. Existing names are found behind either separator.
func aliases(name string) []string {
	n := len(mail.Inbox)
	if len(name) < n+2 || !strings.EqualFold(name[:n], mail.Inbox) || !strings.Contains(otherSeparator+mail.Separator, name[n:n+1]) {
		return nil
	}
	rest := name[n+1:]
	return slices.Compact([]string{rest, strings.ReplaceAll(rest, otherSeparator, mail.Separator)})
}

// lookup finds a mailbox by name; one that is only a component of others is none.
// It keeps the name by which the client knows it.
func lookup(v mail.View, name string) (mail.MailboxInfo, error) {
	info, err := v.Lookup(name)
	for _, a := range aliases(name) {
		if !errors.Is(err, mail.ErrNoMailbox) {
			break
		}
		if info, err = v.Lookup(a); err == nil {
			info.Name = name
		}
	}
	return info, err
}

// oldName is the existing name that a client means; name itself if there is none.
func (s *Session) oldName(ctx context.Context, name string) (string, error) {
	meant, err := s.existing(ctx, name)
	if err != nil || meant == "" {
		return name, err
	}
	return meant, nil
}

// newName is what a name would mean that is to be made. "INBOX/x" is a place of the
// real namespace.
func (s *Session) newName(ctx context.Context, name string) (string, error) {
	name = realName(name)
	meant := aliases(name)
	if meant == nil || strings.HasPrefix(name, mail.Inbox+mail.Separator) {
		return name, nil
	}
	if old, err := s.existing(ctx, name); err != nil || old == name {
		return name, err
	}
	return realName(meant[len(meant)-1]), nil
}

// existing is the first of name and its aliases that there is, as a mailbox, as a
// component of others' names or as a subscription; "" if there is none.
func (s *Session) existing(ctx context.Context, name string) (string, error) {
	meant := aliases(name)
	if meant == nil {
		return "", nil
	}
	names, err := s.ownNames(ctx)
	if err != nil {
		return "", err
	}
	names.sorted() // with what is above them
	for _, n := range append([]string{name}, meant...) {
		if names[n] != nil {
			return n, nil
		}
	}
	return "", nil
}
