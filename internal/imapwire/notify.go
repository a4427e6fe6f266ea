package imapwire

import (
	"slices"
	"strings"
)

// Events are what NOTIFY asks to be told of (RFC 5465 5).
type Events uint8

// The events.
const (
	MessageNew Events = 1 << iota
	MessageExpunge
	FlagChange
	MailboxName
	SubscriptionChange
	MailboxMetadataChange
	ServerMetadataChange

	MessageEvents = MessageNew | MessageExpunge | FlagChange
)

var eventNames = []string{
	"MessageNew", "MessageExpunge", "FlagChange", "MailboxName", "SubscriptionChange", "MailboxMetadataChange", "ServerMetadataChange",
}

// FilterKind is which mailboxes an event group is about (RFC 5465 6).
type FilterKind uint8

// The kinds. The last two have names.
const (
	FilterSelected FilterKind = iota
	FilterSelectedDelayed
	FilterInboxes
	FilterPersonal
	FilterSubscribed
	FilterSubtree
	FilterMailboxes
)

var filterNames = []string{"selected", "selected-delayed", "inboxes", "personal", "subscribed", "subtree", "mailboxes"}

// EventGroup is events of some mailboxes. No events at all means NONE.
type EventGroup struct {
	Filter FilterKind
	Names  []string
	Events Events
	Items  []FetchItem // of MessageNew, in the selected mailbox
}

// Notify is NOTIFY. Without groups it is NOTIFY NONE.
type Notify struct {
	Status bool
	Groups []EventGroup
}

// Selected is the group about the selected mailbox, nil if there is none.
func (n *Notify) Selected() *EventGroup {
	for i := range n.Groups {
		if n.Groups[i].Filter <= FilterSelectedDelayed {
			return &n.Groups[i]
		}
	}
	return nil
}

func (l *lexer) notify() (any, error) {
	if err := l.space(); err != nil {
		return nil, err
	}
	n := new(Notify)
	switch {
	case l.ahead("NONE"):
		l.pos += len("NONE")
		return n, nil
	case !l.nextWord("SET"):
		return nil, l.expected("SET or NONE")
	}
	n.Status = l.nextWord("STATUS")
	for {
		if len(n.Groups) == maxGroups {
			return nil, syntax("More than %d event groups", maxGroups)
		}
		if err := l.eventGroup(n); err != nil {
			return nil, err
		}
		if !l.accept(' ') || l.atEnd() {
			return n, nil
		}
	}
}

// ahead reports whether a word comes next, in any case.
func (l *lexer) ahead(w string) bool {
	end := l.pos + len(w)
	return end <= len(l.text) && strings.EqualFold(string(l.text[l.pos:end]), w)
}

func (l *lexer) eventGroup(n *Notify) error {
	if err := l.expect('('); err != nil {
		return err
	}
	g, err := l.filter()
	if err != nil {
		return err
	}
	if g.Filter <= FilterSelectedDelayed && n.Selected() != nil {
		return syntax("The selected mailbox is named twice")
	}
	if err := l.space(); err != nil {
		return err
	}
	if l.ahead("NONE") {
		l.pos += len("NONE")
	} else if err := l.events(&g); err != nil {
		return err
	}
	n.Groups = append(n.Groups, g)
	return l.expect(')')
}

func (l *lexer) filter() (g EventGroup, err error) {
	w := strings.ToLower(l.while(isAtomChar))
	i := slices.Index(filterNames, w)
	if i < 0 {
		return g, l.expected("a mailbox filter")
	}
	if g.Filter = FilterKind(i); g.Filter < FilterSubtree {
		return g, nil
	}
	if err := l.space(); err != nil {
		return g, err
	}
	one := func() error {
		name, err := l.mailbox()
		g.Names = append(g.Names, name)
		return err
	}
	if l.peek() == '(' {
		return g, l.list(maxItems, false, one)
	}
	return g, one()
}

func (l *lexer) events(g *EventGroup) error {
	var refusal error
	err := l.list(maxItems, false, func() error {
		w := l.while(isAtomChar)
		i := slices.IndexFunc(eventNames, func(name string) bool { return strings.EqualFold(name, w) })
		if w == "" {
			return l.expected("an event")
		}
		if i < 0 {
			refusal = &SyntaxError{No: true, Code: "BADEVENT (" + strings.Join(eventNames, " ") + ")", Text: "Event is not supported"}
			return nil
		}
		if g.Events |= 1 << i; i == 0 && strings.HasPrefix(string(l.text[l.pos:]), " (") {
			l.pos++
			return l.eventItems(g)
		}
		return nil
	})
	if err == nil {
		err = g.check()
	}
	if err == nil {
		err = refusal
	}
	return err
}

func (l *lexer) eventItems(g *EventGroup) error {
	if g.Filter > FilterSelectedDelayed {
		return syntax("Only of the selected mailbox new messages can be fetched")
	}
	f := new(Fetch)
	if err := l.fetchItems(f); err != nil {
		return err
	}
	g.Items = f.Items
	return nil
}

// check applies the rules of RFC 5465 5 and 6.1 to the selected mailbox, whose message
// numbers need them. Of others, Dovecot's clients ask for single events.
func (g *EventGroup) check() error {
	const both = MessageNew | MessageExpunge
	switch m := g.Events & both; {
	case g.Filter > FilterSelectedDelayed:
	case m != 0 && m != both:
		return syntax("MessageNew and MessageExpunge go together")
	case g.Events&FlagChange != 0 && m == 0:
		return syntax("FlagChange needs MessageNew and MessageExpunge")
	case g.Events&^MessageEvents != 0:
		return syntax("Events of the selected mailbox are those of messages")
	}
	return nil
}

// AppendNotify appends a command, with its line end, that Parse makes into n, without
// STATUS.
func AppendNotify(dst []byte, n *Notify) []byte {
	dst = append(dst, "n NOTIFY "...)
	if len(n.Groups) == 0 {
		return append(dst, "NONE\r\n"...)
	}
	dst = append(dst, "SET"...)
	for i := range n.Groups {
		dst = n.Groups[i].append(append(dst, ' '))
	}
	return append(dst, "\r\n"...)
}

func (g *EventGroup) append(dst []byte) []byte {
	dst = append(append(dst, '('), filterNames[g.Filter]...)
	for i, name := range g.Names {
		if i == 0 {
			dst = append(dst, " ("...)
		} else {
			dst = append(dst, ' ')
		}
		dst = AppendMailbox(dst, name, false)
	}
	if len(g.Names) > 0 {
		dst = append(dst, ')')
	}
	if g.Events == 0 {
		return append(dst, " NONE)"...)
	}
	sep := " ("
	for i, name := range eventNames {
		if g.Events&(1<<i) == 0 {
			continue
		}
		dst = append(append(dst, sep...), name...)
		if sep = " "; i == 0 && len(g.Items) > 0 {
			dst = append(appendFetchItems(append(dst, " ("...), g.Items), ')')
		}
	}
	return append(dst, "))"...)
}

// appendFetchItems appends items as FETCH takes them.
func appendFetchItems(dst []byte, items []FetchItem) []byte {
	for i, item := range items {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = appendFetchItem(dst, item)
	}
	return dst
}

func appendFetchItem(dst []byte, item FetchItem) []byte {
	switch item.Kind {
	case ItemBody:
		return append(dst, "BODY"...)
	case ItemSection, ItemBinary, ItemBinarySize:
	default:
		for name, kind := range simpleItems {
			if kind == item.Kind {
				dst = append(dst, name...)
			}
		}
		if item.Lazy {
			dst = append(dst, " (LAZY)"...)
		}
		return dst
	}
	name := "BODY"
	switch {
	case item.Kind == ItemBinarySize:
		name = "BINARY.SIZE"
	case item.Kind == ItemBinary && item.Peek:
		name = "BINARY.PEEK"
	case item.Kind == ItemBinary:
		name = "BINARY"
	case item.Peek:
		name = "BODY.PEEK"
	}
	dst = AppendSection(append(dst, name...), item.Section)
	if p := item.Partial; p != nil {
		dst = AppendNumber(append(dst, '<'), p.Offset)
		dst = append(AppendNumber(append(dst, '.'), p.Count), '>')
	}
	return dst
}
