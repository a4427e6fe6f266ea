package imapwire

import (
	"slices"
	"strings"
)

// ItemKind is what a FETCH item asks for.
type ItemKind uint8

// The items of FETCH.
const (
	ItemUID ItemKind = iota
	ItemFlags
	ItemInternalDate
	ItemSize // RFC822.SIZE
	ItemModSeq
	ItemEmailID
	ItemThreadID
	ItemSaveDate
	ItemEnvelope
	ItemBody          // BODY without brackets
	ItemBodyStructure // BODYSTRUCTURE
	ItemSection       // BODY[...], BODY.PEEK[...]
	ItemRFC822        // the same as BODY[], named otherwise in the response
	ItemRFC822Header  // BODY.PEEK[HEADER]
	ItemRFC822Text    // BODY[TEXT]
	ItemBinary        // BINARY[...], BINARY.PEEK[...]
	ItemBinarySize    // BINARY.SIZE[...]
	ItemPreview       // PREVIEW, PREVIEW (LAZY)
)

// FetchItem is one item of FETCH.
type FetchItem struct {
	Kind    ItemKind
	Section Section  // of ItemSection, ItemBinary and ItemBinarySize
	Peek    bool     // leaves \Seen alone
	Lazy    bool     // of ItemPreview: only if it is there already
	Partial *Partial // of ItemSection and ItemBinary; nil: all of it
}

// Partial is "<offset.count>". Count is at least 1.
type Partial struct{ Offset, Count int64 }

// SetsSeen reports whether the item sets \Seen.
func (i FetchItem) SetsSeen() bool {
	switch i.Kind {
	case ItemSection, ItemBinary:
		return !i.Peek
	case ItemRFC822, ItemRFC822Text:
		return true
	}
	return false
}

// Fetch is FETCH and UID FETCH.
type Fetch struct {
	Set          SeqSet
	Items        []FetchItem // each once, in the order asked for
	ChangedSince *uint64     // RFC 7162 3.1.4.1
	Vanished     bool        // RFC 7162 3.2.6; ChangedSince is set
	Page         *Page       // RFC 9394 3.3: of the messages that are there and changed
}

// Has reports whether an item of that kind is asked for.
func (f *Fetch) Has(kind ItemKind) bool {
	return slices.ContainsFunc(f.Items, func(i FetchItem) bool { return i.Kind == kind })
}

var simpleItems = map[string]ItemKind{
	"UID":           ItemUID,
	"FLAGS":         ItemFlags,
	"INTERNALDATE":  ItemInternalDate,
	"RFC822.SIZE":   ItemSize,
	"MODSEQ":        ItemModSeq,
	"EMAILID":       ItemEmailID,
	"THREADID":      ItemThreadID,
	"SAVEDATE":      ItemSaveDate,
	"ENVELOPE":      ItemEnvelope,
	"BODYSTRUCTURE": ItemBodyStructure,
	"PREVIEW":       ItemPreview,
	"RFC822":        ItemRFC822,
	"RFC822.HEADER": ItemRFC822Header,
	"RFC822.TEXT":   ItemRFC822Text,
}

var fetchMacros = map[string][]ItemKind{
	"ALL":  {ItemFlags, ItemInternalDate, ItemSize, ItemEnvelope},
	"FAST": {ItemFlags, ItemInternalDate, ItemSize},
	"FULL": {ItemFlags, ItemInternalDate, ItemSize, ItemEnvelope, ItemBody},
}

func (l *lexer) fetch() (any, error) {
	f := new(Fetch)
	var err error
	if f.Set, err = l.argSet(); err != nil {
		return nil, err
	}
	if err = l.space(); err != nil {
		return nil, err
	}
	if err = l.fetchItems(f); err != nil {
		return nil, err
	}
	if l.accept(' ') && !l.atEnd() {
		err = l.fetchModifiers(f)
	}
	return f, err
}

func (l *lexer) fetchItems(f *Fetch) error {
	one := func() error {
		item, err := l.fetchItem()
		if err == nil {
			f.Add(item)
		}
		return err
	}
	if l.peek() == '(' {
		return l.list(maxItems, false, one)
	}
	at := l.pos
	if macro, ok := fetchMacros[strings.ToUpper(l.while(isAtomChar))]; ok {
		for _, kind := range macro {
			f.Items = append(f.Items, FetchItem{Kind: kind})
		}
		return nil
	}
	l.pos = at
	return one()
}

// Add asks for an item, unless f does already.
func (f *Fetch) Add(item FetchItem) {
	if !f.contains(item) {
		f.Items = append(f.Items, item)
	}
}

// contains reports whether f asks for item already: two clients' ways of asking
// for the same would be answered twice.
func (f *Fetch) contains(item FetchItem) bool {
	return slices.ContainsFunc(f.Items, func(o FetchItem) bool {
		return o.Kind == item.Kind && o.Peek == item.Peek && o.Section.equal(item.Section) &&
			(o.Partial == nil) == (item.Partial == nil) && (o.Partial == nil || *o.Partial == *item.Partial)
	})
}

func (s Section) equal(o Section) bool {
	return s.Kind == o.Kind && slices.Equal(s.Path, o.Path) && slices.Equal(s.Fields, o.Fields)
}

func (l *lexer) fetchItem() (FetchItem, error) {
	at := l.pos
	name := strings.ToUpper(l.while(func(c byte) bool { return isAtomChar(c) && c != '[' }))
	if l.peek() != '[' {
		if name == "BODY" {
			return FetchItem{Kind: ItemBody}, nil
		}
		if kind, ok := simpleItems[name]; ok {
			return FetchItem{Kind: kind, Lazy: kind == ItemPreview && l.lazy()}, nil
		}
		return FetchItem{}, syntax("No such FETCH item at octet %d", at+1)
	}
	item := FetchItem{Kind: ItemSection}
	switch name {
	case "BODY":
	case "BODY.PEEK":
		item.Peek = true
	case "BINARY":
		item.Kind = ItemBinary
	case "BINARY.PEEK":
		item.Kind, item.Peek = ItemBinary, true
	case "BINARY.SIZE":
		item.Kind = ItemBinarySize
	default:
		return FetchItem{}, syntax("No such FETCH item at octet %d", at+1)
	}
	var err error
	if item.Section, err = l.section(item.Kind != ItemSection); err != nil {
		return FetchItem{}, err
	}
	if l.peek() == '<' && item.Kind != ItemBinarySize {
		item.Partial, err = l.partial()
	}
	return item, err
}

// lazy takes PREVIEW's modifier, if it comes next; a list of FETCH's own is none.
func (l *lexer) lazy() bool {
	const modifier = " (LAZY)"
	end := l.pos + len(modifier)
	if end > len(l.text) || !strings.EqualFold(string(l.text[l.pos:end]), modifier) {
		return false
	}
	l.pos = end
	return true
}

func (l *lexer) partial() (*Partial, error) {
	if err := l.expect('<'); err != nil {
		return nil, err
	}
	offset, err := l.number(maxInt63)
	if err != nil {
		return nil, err
	}
	if err := l.expect('.'); err != nil {
		return nil, err
	}
	count, err := l.number(maxInt63)
	if err != nil {
		return nil, err
	}
	if count == 0 {
		return nil, syntax("Partial FETCH of zero octets")
	}
	return &Partial{int64(offset), int64(count)}, l.expect('>')
}

func (l *lexer) fetchModifiers(f *Fetch) error {
	err := l.list(maxItems, false, func() error {
		name, err := l.word()
		if err != nil {
			return err
		}
		switch {
		case name == "VANISHED" && !f.Vanished:
			f.Vanished = true
		case name == "CHANGEDSINCE" && f.ChangedSince == nil:
			f.ChangedSince, err = l.modseqArg()
		case name == "PARTIAL" && f.Page == nil:
			f.Page, err = l.argPage()
		default:
			err = syntax("No such FETCH modifier")
		}
		return err
	})
	if err == nil && f.Vanished && f.ChangedSince == nil {
		err = syntax("VANISHED needs CHANGEDSINCE")
	}
	return err
}

// modseqArg takes a space and a MODSEQ.
func (l *lexer) modseqArg() (*uint64, error) {
	if err := l.space(); err != nil {
		return nil, err
	}
	n, err := l.number(maxInt63)
	return &n, err
}

// argSet takes a space and a sequence set.
func (l *lexer) argSet() (SeqSet, error) {
	if err := l.space(); err != nil {
		return SeqSet{}, err
	}
	return l.sequenceSet()
}
