package imapd

import (
	"cmp"
	"context"
	"errors"
	"iter"
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
	below      bool   // there are subscriptions below
	hidden     bool   // some of these do not match the patterns of this LIST
	at         *place // nil: nobody's
}

// names are entries by their names.
type names map[string]*entry

// list is LIST and LSUB.
func (s *Session) list(ctx context.Context, c *imapwire.Command, a *imapwire.List) (answer, error) {
	if !a.Extended && slices.Equal(a.Patterns, []string{""}) {
		s.out.untagged(c.Name + ` (\Noselect) "` + mail.Separator + `" ""`)
		return ok(c.Name + " completed"), nil
	}
	s.work(&s.home)
	all, err := s.ownNames(ctx)
	if err != nil {
		return answer{}, err
	}
	if err := s.addOthers(ctx, a, all); err != nil {
		return answer{}, err
	}
	list := all.sorted()
	if a.Select&imapwire.SelectRecursiveMatch != 0 {
		markHidden(a, list)
	}
	for _, e := range list {
		if matchesAny(a, e.Name) {
			if err := s.listEntry(ctx, a, e); err != nil {
				return answer{}, err
			}
		}
	}
	return ok(c.Name + " completed"), nil
}

// ownNames are the names at home, where the session is: its mailboxes and all subscriptions.
func (s *Session) ownNames(ctx context.Context) (names, error) {
	v, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	return s.namesIn(v)
}

// nameSource is where names are read, as of a View.
type nameSource interface {
	Mailboxes() iter.Seq2[mail.MailboxInfo, error]
	Subscriptions() iter.Seq2[string, error]
}

func (s *Session) namesIn(v nameSource) (names, error) {
	all := names{}
	for info, err := range v.Mailboxes() {
		if err != nil {
			return nil, err
		}
		all.add(&s.home, info)
	}
	for name, err := range v.Subscriptions() {
		if err != nil {
			return nil, err
		}
		if all[name] == nil {
			all.add(nil, mail.MailboxInfo{Name: name, NonExistent: true})
		}
		all[name].subscribed = true
	}
	return all, nil
}

// add adds a mailbox of p, or replaces what was only a subscription.
func (n names) add(p *place, info mail.MailboxInfo) {
	e := &entry{MailboxInfo: info, at: p}
	if old := n[info.Name]; old != nil {
		e.subscribed = old.subscribed
	}
	n[info.Name] = e
}

// sorted is all names and those above them, INBOX first.
func (n names) sorted() []*entry {
	list := slices.Collect(maps.Values(n))
	for _, e := range list {
		n.markParents(e)
	}
	// Parents of subscriptions to nothing are in n by now, but not in list.
	return slices.SortedFunc(maps.Values(n), func(a, b *entry) int {
		if a.Name == mail.Inbox || b.Name == mail.Inbox {
			return cmp.Compare(b2i(b.Name == mail.Inbox), b2i(a.Name == mail.Inbox))
		}
		return strings.Compare(a.Name, b.Name)
	})
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// markParents tells the names above e of it.
func (n names) markParents(e *entry) {
	for name := e.Name; ; {
		i := strings.LastIndex(name, mail.Separator)
		if i < 0 {
			return
		}
		name = name[:i]
		p := n[name]
		if p == nil {
			p = &entry{MailboxInfo: mail.MailboxInfo{Name: name, NonExistent: true}}
			n[name] = p
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
func (s *Session) listEntry(ctx context.Context, a *imapwire.List, e *entry) error {
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
	status := a.Return&imapwire.ListStatus != 0 && e.Rights.Has(mail.MayRead)
	metadata := a.Return&imapwire.ListMetadata != 0 && e.Rights.Annotates()
	if e.NonExistent || !status && !metadata {
		return nil
	}
	return s.listMore(ctx, a, e, status, metadata)
}

// listMore writes STATUS and METADATA responses, unless they are of another user's
// mailbox that cannot be asked any more.
func (s *Session) listMore(ctx context.Context, a *imapwire.List, e *entry, status, metadata bool) error {
	if status && slices.Contains(a.Status, imapwire.StatusHighestModSeq) {
		s.enableFeatures(session.CondStore)
	}
	s.work(e.at)
	start := len(s.out.buf)
	v, err := s.current(ctx)
	if err == nil && status {
		err = s.statusLine(v, &e.MailboxInfo, a.Status)
	}
	if err == nil && metadata {
		_, err = s.metadataLine(v, e.ID, &imapwire.GetMetadata{Mailbox: e.Name, Entries: a.Metadata})
	}
	if err = s.excuse(ctx, err); errors.Is(err, errAway) || e.at.away() && errors.Is(err, mail.ErrNoMailbox) {
		s.out.buf = s.out.buf[:start]
		return nil
	}
	return err
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
