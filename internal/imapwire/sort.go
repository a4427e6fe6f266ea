package imapwire

import "slices"

// SortKey is what SORT compares (RFC 5256 3, 5957 3).
type SortKey uint8

// The keys.
const (
	SortArrival SortKey = iota
	SortCc
	SortDate
	SortDisplayFrom
	SortDisplayTo
	SortFrom
	SortSize
	SortSubject
	SortTo
)

var sortNames = [...]string{
	SortArrival: "ARRIVAL", SortCc: "CC", SortDate: "DATE", SortDisplayFrom: "DISPLAYFROM",
	SortDisplayTo: "DISPLAYTO", SortFrom: "FROM", SortSize: "SIZE", SortSubject: "SUBJECT", SortTo: "TO",
}

// SortCriterion is one of SORT's: the first that tells two messages apart decides.
type SortCriterion struct {
	Key     SortKey
	Reverse bool
}

// Sort is SORT and UID SORT (RFC 5256, 5267).
type Sort struct {
	Search
	Criteria []SortCriterion // at least one, each key once
}

func (l *lexer) sort() (any, error) {
	s := new(Sort)
	if err := l.space(); err != nil {
		return nil, err
	}
	if err := l.searchReturn(&s.Search); err != nil {
		return nil, err
	}
	if err := l.criteria(s); err != nil {
		return nil, err
	}
	if err := l.argCharset(); err != nil {
		return nil, s.refused(err)
	}
	return s, l.program(&s.Search)
}

// criteria takes the list of criteria. A key that was there before decides nothing.
func (l *lexer) criteria(s *Sort) error {
	var seen [len(sortNames)]bool
	return l.list(maxItems, false, func() error {
		w, err := l.word()
		if err != nil {
			return err
		}
		c := SortCriterion{Reverse: w == "REVERSE"}
		if c.Reverse {
			if err := l.space(); err != nil {
				return err
			}
			if w, err = l.word(); err != nil {
				return err
			}
		}
		i := slices.Index(sortNames[:], w)
		if i < 0 {
			return syntax("No such SORT key")
		}
		if c.Key = SortKey(i); !seen[c.Key] {
			s.Criteria = append(s.Criteria, c)
		}
		seen[c.Key] = true
		return nil
	})
}

// argCharset takes a space, the charset that SORT and THREAD demand, and a space.
func (l *lexer) argCharset() error {
	if err := l.space(); err != nil {
		return err
	}
	name, err := l.astring()
	if err != nil {
		return err
	}
	if err := supported(name); err != nil {
		return err
	}
	return l.space()
}
