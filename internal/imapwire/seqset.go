package imapwire

// SeqRange is a range of a sequence set, Lo <= Hi unless one of them is "*".
type SeqRange struct{ Lo, Hi uint32 }

// Star stands for "*" in a SeqRange: the largest number in use.
const Star = 0

// SeqSet is a sequence set as written: of message numbers or of UIDs, as the
// command says. Saved is "$", the last saved search result (RFC 5182).
type SeqSet struct {
	Saved  bool
	Ranges []SeqRange
}

// Resolve gives the ranges with "*" replaced by largest, each in ascending order;
// their own order is kept, and they may overlap.
func (s SeqSet) Resolve(largest uint32) []SeqRange {
	out := make([]SeqRange, len(s.Ranges))
	for i, r := range s.Ranges {
		if r.Lo == Star {
			r.Lo = largest
		}
		if r.Hi == Star {
			r.Hi = largest
		}
		if r.Lo > r.Hi {
			r.Lo, r.Hi = r.Hi, r.Lo
		}
		out[i] = r
	}
	return out
}

// sequenceSet takes a sequence set.
func (l *lexer) sequenceSet() (SeqSet, error) {
	if l.accept('$') {
		return SeqSet{Saved: true}, nil
	}
	var s SeqSet
	for {
		r, err := l.seqRange()
		if err != nil {
			return SeqSet{}, err
		}
		if len(s.Ranges) == maxRanges {
			return SeqSet{}, syntax("More than %d ranges in a sequence set", maxRanges)
		}
		s.Ranges = append(s.Ranges, r)
		if !l.accept(',') {
			return s, nil
		}
	}
}

func (l *lexer) seqRange() (SeqRange, error) {
	lo, err := l.seqNumber()
	if err != nil {
		return SeqRange{}, err
	}
	r := SeqRange{lo, lo}
	if l.accept(':') {
		if r.Hi, err = l.seqNumber(); err != nil {
			return SeqRange{}, err
		}
	}
	if r.Lo != Star && r.Hi != Star && r.Lo > r.Hi {
		r.Lo, r.Hi = r.Hi, r.Lo
	}
	return r, nil
}

func (l *lexer) seqNumber() (uint32, error) {
	if l.accept('*') {
		return Star, nil
	}
	return l.nonZero()
}

// atSequenceSet reports whether a sequence set may begin here.
func (l *lexer) atSequenceSet() bool {
	c := l.peek()
	return isDigit(c) || c == '*' || c == '$'
}
