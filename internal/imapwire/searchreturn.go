package imapwire

// SearchReturn is what an extended SEARCH or SORT gives back (RFC 4731, 5182, 5267).
type SearchReturn uint8

// The return options.
const (
	ReturnMin SearchReturn = 1 << iota
	ReturnMax
	ReturnAll
	ReturnCount
	ReturnSave
	ReturnPartial // Search.Page
	ReturnUpdate  // ADDTO and REMOVEFROM from now on
	returnContext // a hint; it changes nothing
)

var returnOptions = map[string]SearchReturn{
	"MIN": ReturnMin, "MAX": ReturnMax, "ALL": ReturnAll, "COUNT": ReturnCount, "SAVE": ReturnSave,
	"PARTIAL": ReturnPartial, "UPDATE": ReturnUpdate, "CONTEXT": returnContext,
}

// searchReturn takes "RETURN (...)" and the space after it, if they come next.
func (l *lexer) searchReturn(s *Search) error {
	if !l.nextWord("RETURN") {
		return nil
	}
	s.Extended = true
	err := l.list(maxItems, true, func() error { return l.returnOption(s) })
	if err != nil {
		return err
	}
	if s.Return &^= returnContext; s.Return == 0 {
		s.Return = ReturnAll
	}
	if s.Return&ReturnPartial != 0 && s.Return&ReturnAll != 0 {
		return syntax("Either ALL or PARTIAL may be asked for")
	}
	return l.space()
}

func (l *lexer) returnOption(s *Search) error {
	w, err := l.word()
	if err != nil {
		return err
	}
	opt, ok := returnOptions[w]
	switch {
	case !ok:
		return syntax("No such SEARCH return option")
	case opt == ReturnPartial && s.Page != nil:
		return syntax("PARTIAL may be asked for once")
	case opt == ReturnPartial:
		s.Page, err = l.argPage()
	case opt == ReturnUpdate:
		err = l.updateItems(s)
	}
	s.Return |= opt
	return err
}

// updateItems takes the items of UPDATE, if they come next: with a space before them, as
// in the example of RFC 5465 7, or without, as in its grammar.
func (l *lexer) updateItems(s *Search) error {
	at := l.pos
	l.accept(' ')
	if l.peek() != '(' {
		l.pos = at
		return nil
	}
	f := Fetch{Items: s.Items}
	err := l.fetchItems(&f)
	s.Items = f.Items
	return err
}

// Page is the range of results that PARTIAL names (RFC 5267 4.4, 9394 3.1): First to
// Last, counted from 1, First <= Last. FromEnd counts from the last result backwards.
type Page struct {
	First, Last uint32
	FromEnd     bool
}

// Of is where the page lies among n results: [from, to), empty if there is nothing.
func (p Page) Of(n int) (from, to int) {
	first, last := min(int(p.First)-1, n), min(int(p.Last), n)
	if p.FromEnd {
		return n - last, n - first
	}
	return first, last
}

// Append appends the page as it is told in a response.
func (p Page) Append(dst []byte) []byte {
	sign := ""
	if p.FromEnd {
		sign = "-"
	}
	dst = AppendNumber(append(dst, sign...), p.First)
	return AppendNumber(append(append(dst, ':'), sign...), p.Last)
}

// argPage takes a space and a partial-range.
func (l *lexer) argPage() (*Page, error) {
	if err := l.space(); err != nil {
		return nil, err
	}
	p := &Page{FromEnd: l.accept('-')}
	var err error
	if p.First, err = l.nonZero(); err != nil {
		return nil, err
	}
	if err = l.expect(':'); err != nil {
		return nil, err
	}
	if p.FromEnd {
		if err = l.expect('-'); err != nil {
			return nil, err
		}
	}
	p.Last, err = l.nonZero()
	if p.First > p.Last {
		p.First, p.Last = p.Last, p.First
	}
	return p, err
}
