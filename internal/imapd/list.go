package imapd

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// entry is a name that LIST or LSUB may show: a mailbox, a component of others'
// names, or a subscription to nothing.
type entry struct {
	mail.MailboxInfo
	children   bool // there are mailboxes below
	subscribed bool
	below      bool // there are subscriptions below
	hidden     bool // some of these do not match the patterns of this LIST
}

// list is LIST and LSUB.
func (s *Session) list(ctx context.Context, c *imapwire.Command, a *imapwire.List) (answer, error) {
	if !a.Extended && slices.Equal(a.Patterns, []string{""}) {
		s.out.untagged(c.Name + ` (\Noselect) "` + mail.Separator + `" ""`)
		return ok(c.Name + " completed"), nil
	}
	v, err := s.current(ctx)
	if err != nil {
		return answer{}, err
	}
	names, err := entries(v)
	if err != nil {
		return answer{}, err
	}
	if a.Select&imapwire.SelectRecursiveMatch != 0 {
		markHidden(a, names)
	}
	for _, e := range names {
		if matchesAny(a, e.Name) {
			if err := s.listEntry(v, a, e); err != nil {
				return answer{}, err
			}
		}
	}
	return ok(c.Name + " completed"), nil
}

// entries are all names, INBOX first.
func entries(v mail.View) ([]*entry, error) {
	all := map[string]*entry{}
	for info, err := range v.Mailboxes() {
		if err != nil {
			return nil, err
		}
		all[info.Name] = &entry{MailboxInfo: info}
	}
	for name, err := range v.Subscriptions() {
		if err != nil {
			return nil, err
		}
		if all[name] == nil {
			all[name] = &entry{MailboxInfo: mail.MailboxInfo{Name: name, NonExistent: true}}
		}
		all[name].subscribed = true
	}
	list := slices.Collect(maps.Values(all))
	for _, e := range list {
		markParents(all, e)
	}
	// Parents of subscriptions to nothing are in all by now, but not in list.
	list = slices.SortedFunc(maps.Values(all), func(a, b *entry) int {
		if a.Name == mail.Inbox || b.Name == mail.Inbox {
			return cmp.Compare(b2i(b.Name == mail.Inbox), b2i(a.Name == mail.Inbox))
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list, nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// markParents tells the names above e of it.
func markParents(all map[string]*entry, e *entry) {
	for name := e.Name; ; {
		i := strings.LastIndex(name, mail.Separator)
		if i < 0 {
			return
		}
		name = name[:i]
		p := all[name]
		if p == nil {
			p = &entry{MailboxInfo: mail.MailboxInfo{Name: name, NonExistent: true}}
			all[name] = p
		}
		p.children = p.children || !e.NonExistent
		p.below = p.below || e.subscribed
	}
}

// markHidden tells names of the subscriptions below them that do not match.
func markHidden(a *imapwire.List, names []*entry) {
	above := map[string]bool{}
	for _, e := range names {
		if !e.subscribed || matchesAny(a, e.Name) {
			continue
		}
		for name := e.Name; ; {
			i := strings.LastIndex(name, mail.Separator)
			if i < 0 || above[name[:i]] {
				break
			}
			name = name[:i]
			above[name] = true
		}
	}
	for _, e := range names {
		e.hidden = above[e.Name]
	}
}

// listEntry writes e if it is selected, or with RECURSIVEMATCH, if only names below it
// are that would not be listed themselves (RFC 5258 3, example 9).
func (s *Session) listEntry(v mail.View, a *imapwire.List, e *entry) error {
	if a.Lsub {
		s.lsubEntry(a, e)
		return nil
	}
	selected := e.children || !e.NonExistent
	if a.Select&imapwire.SelectSubscribed != 0 {
		selected = e.subscribed
	}
	if a.Select&imapwire.SelectSpecialUse != 0 && e.Use == "" {
		selected = false
	}
	childInfo := a.Select&imapwire.SelectRecursiveMatch != 0 && a.Select&imapwire.SelectSubscribed != 0 && e.below
	if !selected && !(childInfo && e.hidden) {
		return nil
	}
	s.listLine("LIST", e, listAttributes(a, e))
	if childInfo {
		s.out.buf = append(s.out.buf[:len(s.out.buf)-2], " (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n"...)
	}
	if a.Return&imapwire.ListMyRights != 0 && !e.NonExistent && mayAskRights(&e.MailboxInfo) {
		s.myRightsLine(&e.MailboxInfo)
	}
	if a.Return&imapwire.ListStatus != 0 && !e.NonExistent && e.Rights.Has(mail.MayRead) {
		if slices.Contains(a.Status, imapwire.StatusHighestModSeq) {
			s.enableFeatures(session.CondStore)
		}
		if err := s.statusLine(v, &e.MailboxInfo, a.Status); err != nil {
			return err
		}
	}
	if a.Return&imapwire.ListMetadata != 0 && !e.NonExistent && e.Rights.Annotates() {
		_, err := s.metadataLine(v, e.ID, &imapwire.GetMetadata{Mailbox: e.Name, Entries: a.Metadata})
		return err
	}
	return nil
}

func listAttributes(a *imapwire.List, e *entry) []string {
	var attrs []string
	if e.NonExistent {
		attrs = append(attrs, `\NonExistent`)
		if !a.Extended {
			attrs = append(attrs, `\Noselect`) // who asks in the old way may not know what implies it
		}
	}
	if e.children {
		attrs = append(attrs, `\HasChildren`)
	} else {
		attrs = append(attrs, `\HasNoChildren`)
	}
	if e.subscribed && (a.Return&imapwire.ListSubscribed != 0 || a.Select&imapwire.SelectSubscribed != 0) {
		attrs = append(attrs, `\Subscribed`)
	}
	if e.Use != "" {
		attrs = append(attrs, `\`+string(e.Use))
	}
	return attrs
}

// lsubEntry writes e if it is subscribed, or if only names below it are and the
// client asked with "%" for this level (RFC 3501 6.3.9).
func (s *Session) lsubEntry(a *imapwire.List, e *entry) {
	switch {
	case e.subscribed:
		s.listLine("LSUB", e, nil)
	case e.below && strings.HasSuffix(a.Patterns[0], "%"):
		s.listLine("LSUB", e, []string{`\Noselect`})
	}
}

func (s *Session) listLine(word string, e *entry, attrs []string) {
	s.out.buf = append(s.out.buf, "* "+word+" ("+strings.Join(attrs, " ")+`) "`+mail.Separator+`" `...)
	s.out.buf = append(s.appendName(s.out.buf, e.Name), "\r\n"...)
}

// appendName appends a mailbox name in the encoding of the session.
func (s *Session) appendName(b []byte, name string) []byte {
	return imapwire.AppendMailbox(b, name, s.utf8Names())
}

func matchesAny(a *imapwire.List, name string) bool {
	for _, p := range a.Patterns {
		if matches(a.Reference+p, name) {
			return true
		}
	}
	return false
}

// matches reports whether a name is what a pattern says: "*" stands for anything,
// "%" for anything without a separator. Time grows with the product of both
// lengths at most, whatever the pattern.
func matches(pattern, name string) bool {
	// at[i] says whether the pattern so far can have matched name[:i].
	at := make([]bool, len(name)+1)
	at[0] = true
	for i := range len(pattern) {
		switch c := pattern[i]; c {
		case '*', '%':
			for j := 1; j <= len(name); j++ {
				at[j] = at[j] || at[j-1] && (c == '*' || name[j-1] != mail.Separator[0])
			}
		default:
			for j := len(name); j > 0; j-- {
				at[j] = at[j-1] && name[j-1] == c
			}
			at[0] = false
		}
	}
	return at[len(name)]
}
