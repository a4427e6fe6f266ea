package imapwire

import "slices"

// SourceKind is which mailboxes ESEARCH searches (RFC 7377 2.2).
type SourceKind uint8

// The kinds. The last three have names.
const (
	SourceSelected SourceKind = iota
	SourceInboxes
	SourcePersonal
	SourceSubscribed
	SourceSubtree
	SourceSubtreeOne
	SourceMailboxes
)

var sourceKinds = map[string]SourceKind{
	"SELECTED": SourceSelected, "INBOXES": SourceInboxes, "PERSONAL": SourcePersonal, "SUBSCRIBED": SourceSubscribed,
	"SUBTREE": SourceSubtree, "SUBTREE-ONE": SourceSubtreeOne, "MAILBOXES": SourceMailboxes,
}

// Source is one of ESEARCH's.
type Source struct {
	Kind  SourceKind
	Names []string
}

// Esearch is ESEARCH. Without sources it searches the selected mailbox.
type Esearch struct {
	Search
	Sources []Source
}

// OnlySelected reports whether no other mailbox can be searched.
func (e *Esearch) OnlySelected() bool {
	for _, s := range e.Sources {
		if s.Kind != SourceSelected {
			return false
		}
	}
	return true
}

func (l *lexer) esearch() (any, error) {
	e := &Esearch{Search: Search{Extended: true}}
	if err := l.space(); err != nil {
		return nil, err
	}
	if l.nextWord("IN") {
		err := l.list(maxItems, false, func() error { return l.source(e) })
		if err != nil {
			return nil, err
		}
		if err := l.space(); err != nil {
			return nil, err
		}
	}
	if err := l.searchReturn(&e.Search); err != nil {
		return nil, err
	}
	if e.Return == 0 {
		e.Return = ReturnAll
	}
	if _, err := l.charset(); err != nil {
		return nil, e.refused(err)
	}
	return e, l.program(&e.Search)
}

func (l *lexer) source(e *Esearch) error {
	w, err := l.word()
	if err != nil {
		return err
	}
	kind, ok := sourceKinds[w]
	if !ok {
		return syntax("No such source of ESEARCH")
	}
	s := Source{Kind: kind}
	if kind >= SourceSubtree {
		if err := l.space(); err != nil {
			return err
		}
		one := func() error {
			name, err := l.mailbox()
			s.Names = append(s.Names, name)
			return err
		}
		if l.peek() == '(' {
			err = l.list(maxItems, false, one)
		} else {
			err = one()
		}
	}
	e.Sources = append(e.Sources, s)
	return err
}

// Names reports whether a source of that kind is named.
func (e *Esearch) Names(kind SourceKind) bool {
	return slices.ContainsFunc(e.Sources, func(s Source) bool { return s.Kind == kind })
}

// UsesPicture reports whether the program has message numbers or "$".
func (s *Search) UsesPicture() bool { return usesPicture(&s.Program) }

func usesPicture(k *SearchKey) bool {
	return k.Kind == KeySeq || k.Set.Saved || slices.ContainsFunc(k.Keys, func(k SearchKey) bool { return usesPicture(&k) })
}
