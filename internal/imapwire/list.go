package imapwire

// ListSelect are LIST's selection options (RFC 5258, 6154).
type ListSelect uint8

// The selection options.
const (
	SelectSubscribed ListSelect = 1 << iota
	SelectRemote
	SelectRecursiveMatch
	SelectSpecialUse
)

// ListReturn are LIST's return options (RFC 5258, 6154, 5819, 8440).
type ListReturn uint8

// The return options (RFC 9590 has the last).
const (
	ListSubscribed ListReturn = 1 << iota
	ListChildren
	ListSpecialUse
	ListStatus
	ListMyRights // RFC 8440
	ListMetadata
)

// List is LIST, or LSUB if Lsub is set.
type List struct {
	Lsub      bool
	Extended  bool // selection or return options or a list of patterns were given
	Reference string
	Patterns  []string // none if no name can match
	Select    ListSelect
	Return    ListReturn
	Status    []StatusItem // of ListStatus
	Metadata  []string     // of ListMetadata: entries, as mail.EntryName gives them
}

var selectOptions = map[string]ListSelect{
	"SUBSCRIBED": SelectSubscribed, "REMOTE": SelectRemote,
	"RECURSIVEMATCH": SelectRecursiveMatch, "SPECIAL-USE": SelectSpecialUse,
}

func (l *lexer) lsub() (any, error) {
	c := &List{Lsub: true}
	return c, l.listNames(c)
}

func (l *lexer) listCommand() (any, error) {
	c := new(List)
	if l.pos+1 < len(l.text) && l.text[l.pos+1] == '(' {
		if err := l.selection(c); err != nil {
			return nil, err
		}
	}
	if err := l.listNames(c); err != nil {
		return nil, err
	}
	if !l.accept(' ') || l.atEnd() {
		return c, nil
	}
	if !l.nextWord("RETURN") {
		return nil, l.expected("RETURN")
	}
	c.Extended = true
	return c, l.list(maxItems, true, func() error { return l.listReturn(c) })
}

func (l *lexer) selection(c *List) error {
	c.Extended = true
	l.pos++
	err := l.list(maxItems, true, func() error {
		w, err := l.word()
		if err != nil {
			return err
		}
		opt, ok := selectOptions[w]
		if !ok {
			return syntax("No such LIST selection option")
		}
		c.Select |= opt
		return nil
	})
	if err == nil && c.Select&SelectRecursiveMatch != 0 && c.Select&^(SelectRecursiveMatch|SelectRemote) == 0 {
		err = syntax("RECURSIVEMATCH needs another selection option")
	}
	return err
}

// listNames takes the reference and the pattern, or patterns. Those that cannot be
// of a mailbox's name match nothing, and are left out.
func (l *lexer) listNames(c *List) error {
	if err := l.space(); err != nil {
		return err
	}
	var err error
	nothing := false
	if c.Reference, err = l.mailbox(); isNoName(err) {
		nothing = true
	} else if err != nil {
		return err
	}
	if err := l.space(); err != nil {
		return err
	}
	one := func() error {
		p, err := l.pattern()
		switch {
		case isNoName(err):
			return nil
		case err == nil && !nothing:
			c.Patterns = append(c.Patterns, p)
		}
		return err
	}
	if c.Lsub || l.peek() != '(' {
		return one()
	}
	c.Extended = true
	return l.list(maxPatterns, false, one)
}

func (l *lexer) listReturn(c *List) error {
	w, err := l.word()
	if err != nil {
		return err
	}
	switch w {
	case "SUBSCRIBED":
		c.Return |= ListSubscribed
	case "CHILDREN":
		c.Return |= ListChildren
	case "SPECIAL-USE":
		c.Return |= ListSpecialUse
	case "MYRIGHTS":
		c.Return |= ListMyRights
	case "STATUS":
		c.Return |= ListStatus
		if err := l.space(); err != nil {
			return err
		}
		c.Status, err = l.statusItems()
		return err
	case "METADATA":
		c.Return |= ListMetadata
		if err := l.space(); err != nil {
			return err
		}
		c.Metadata, err = l.entries()
		return err
	default:
		return syntax("No such LIST return option")
	}
	return nil
}
