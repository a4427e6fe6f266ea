package imapwire

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// Search is SEARCH and UID SEARCH, and what SORT, THREAD and ESEARCH have of them.
type Search struct {
	Charset  bool         // CHARSET was given
	Extended bool         // RETURN was given: the answer is ESEARCH
	Return   SearchReturn // if Extended; RETURN () is ReturnAll
	Page     *Page        // if ReturnPartial
	Items    []FetchItem  // if ReturnUpdate: to be told of new messages that are results (RFC 5465 7)
	Program  SearchKey    // KeyAnd of what the client wrote
}

// UsesModSeq reports whether the program has a MODSEQ key, which enables CONDSTORE.
func (s *Search) UsesModSeq() bool { return s.Has(KeyModSeq) }

func (k *SearchKey) has(kind KeyKind) bool {
	if k.Kind == kind {
		return true
	}
	for i := range k.Keys {
		if k.Keys[i].has(kind) {
			return true
		}
	}
	return false
}

// searchParser counts the keys of one program.
type searchParser struct {
	*lexer
	keys int
}

func (l *lexer) search() (any, error) {
	s := new(Search)
	if err := l.space(); err != nil {
		return nil, err
	}
	if err := l.searchReturn(s); err != nil {
		return nil, err
	}
	var err error
	if s.Charset, err = l.charset(); err != nil {
		return nil, s.refused(err)
	}
	return s, l.program(s)
}

// program takes the search keys, which are the end of a command.
func (l *lexer) program(s *Search) error {
	p := searchParser{lexer: l}
	s.Program.Kind = KeyAnd
	for {
		k, err := p.key()
		if err != nil {
			return err
		}
		s.Program.Keys = append(s.Program.Keys, k)
		if !l.accept(' ') || l.atEnd() {
			return nil
		}
	}
}

// nextWord takes the word w and the space after it, if they come next.
func (l *lexer) nextWord(w string) bool {
	if end := l.pos + len(w); end < len(l.text) && l.text[end] == ' ' && strings.EqualFold(string(l.text[l.pos:end]), w) {
		l.pos = end + 1
		return true
	}
	return false
}

// charset takes CHARSET, if it comes next.
func (l *lexer) charset() (given bool, err error) {
	if !l.nextWord("CHARSET") {
		return false, nil
	}
	name, err := l.astring()
	if err != nil {
		return true, err
	}
	if err := supported(name); err != nil {
		return true, err
	}
	return true, l.space()
}

// refused notes that it is a search with SAVE that gets NO.
func (s *Search) refused(err error) error {
	if e, ok := errors.AsType[*SyntaxError](err); ok {
		e.Save = e.No && s.Return&ReturnSave != 0
	}
	return err
}

// supported refuses charsets that are not read. US-ASCII is a part of UTF-8.
func supported(charset string) error {
	if !strings.EqualFold(charset, "UTF-8") && !strings.EqualFold(charset, "US-ASCII") {
		return &SyntaxError{No: true, Code: CodeBadCharset, Text: "Charset is not supported"}
	}
	return nil
}

// key takes one search key.
func (p *searchParser) key() (k SearchKey, err error) {
	if p.keys++; p.keys > maxKeys {
		return k, syntax("More than %d search keys", maxKeys)
	}
	switch {
	case p.peek() == '(':
		return p.group()
	case p.atSequenceSet():
		k.Kind = KeySeq
		k.Set, err = p.sequenceSet()
		return k, err
	}
	at := p.pos
	word, err := p.word()
	if err != nil {
		return k, err
	}
	if word == "NEW" {
		return newKey(), nil
	}
	form, ok := searchForms[word]
	if !ok {
		return k, syntax("No such search key at octet %d", at+1)
	}
	k = SearchKey{Kind: form.kind, Flag: form.flag, Field: form.field, Of: form.of}
	if form.arg != argNone {
		if err := p.space(); err != nil {
			return k, err
		}
		if err := p.argument(&k, form.arg); err != nil {
			return k, err
		}
	}
	if form.not {
		k = SearchKey{Kind: KeyNot, Keys: []SearchKey{k}}
	}
	return k, nil
}

// newKey is NEW: recent and not seen.
func newKey() SearchKey {
	unseen := SearchKey{Kind: KeyNot, Keys: []SearchKey{flagSeen}}
	return SearchKey{Kind: KeyAnd, Keys: []SearchKey{{Kind: KeyRecent}, unseen}}
}

var flagSeen = SearchKey{Kind: KeyFlag, Flag: searchForms["SEEN"].flag}

func (p *searchParser) group() (SearchKey, error) {
	k := SearchKey{Kind: KeyAnd}
	err := p.nested(func() error {
		return p.list(maxKeys, false, func() error {
			sub, err := p.key()
			k.Keys = append(k.Keys, sub)
			return err
		})
	})
	return k, err
}

func (p *searchParser) argument(k *SearchKey, arg argKind) (err error) {
	switch arg {
	case argText:
		k.Text, err = p.text()
	case argKeyword:
		k.Text, err = p.keyword()
	case argNumber:
		k.Number, err = p.number(maxInt63)
	case argSeconds:
		var n uint32
		n, err = p.nonZero()
		k.Number = uint64(n)
	case argDate:
		k.Date, err = p.date()
	case argSet:
		k.Set, err = p.sequenceSet()
	case argHeader:
		if k.Field, err = p.astring(); err == nil {
			if err = p.space(); err == nil {
				k.Text, err = p.text()
			}
		}
	case argModSeq:
		err = p.modseqKey(k)
	case argID:
		k.Text, err = p.astring()
	case argKey, argTwoKeys:
		err = p.operands(k, int(arg-argKey)+1)
	}
	return err
}

func (p *searchParser) operands(k *SearchKey, n int) error {
	return p.nested(func() error {
		for i := range n {
			if i > 0 {
				if err := p.space(); err != nil {
					return err
				}
			}
			sub, err := p.key()
			if err != nil {
				return err
			}
			k.Keys = append(k.Keys, sub)
		}
		return nil
	})
}

// text takes a search string. What is not UTF-8 is read as ISO 8859-1, which old
// clients send without saying so.
func (p *searchParser) text() (string, error) {
	s, err := p.astring()
	if err != nil || utf8.ValidString(s) {
		return s, err
	}
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r), nil
}

// modseqKey takes MODSEQ's arguments. We keep one MODSEQ a message, so the entry
// and its type change nothing (RFC 7162 3.1.5).
func (p *searchParser) modseqKey(k *SearchKey) (err error) {
	if p.peek() == '"' {
		if _, err := p.quoted(); err != nil {
			return err
		}
		if err := p.space(); err != nil {
			return err
		}
		switch w, err := p.word(); {
		case err != nil:
			return err
		case w != "ALL" && w != "SHARED" && w != "PRIV":
			return syntax("Expected all, shared or priv")
		}
		if err := p.space(); err != nil {
			return err
		}
	}
	k.Number, err = p.number(maxInt63)
	return err
}
