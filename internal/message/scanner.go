package message

import "strings"

// scanner reads the value of a structured field, folded as it is. It forgives:
// nothing makes it fail, and each octet is looked at a bounded number of times.
type scanner struct {
	v   string
	pos int
	// Once a comment or a quoted string was found to have no end, no later one
	// can be trusted, and the character stands for itself.
	openComment, openQuote bool
	comment                string // the last comment skipped
}

func (s *scanner) done() bool { return s.pos >= len(s.v) }

func (s *scanner) peek() byte {
	if s.done() {
		return 0
	}
	return s.v[s.pos]
}

func (s *scanner) accept(c byte) bool {
	if s.done() || s.v[s.pos] != c {
		return false
	}
	s.pos++
	return true
}

// skipBlank skips white space, line ends, control characters and comments.
func (s *scanner) skipBlank() {
	for !s.done() {
		c := s.v[s.pos]
		switch {
		case isSpace(c):
			s.pos++
		case c == '(' && s.skipComment():
		default:
			return
		}
	}
}

func isSpace(c byte) bool { return c <= ' ' || c == 0x7f }

func (s *scanner) skipComment() bool {
	if s.openComment {
		return false
	}
	depth := 0
	for i := s.pos; i < len(s.v); i++ {
		switch s.v[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			depth--
			if depth == 0 {
				s.comment = s.v[s.pos+1 : i]
				s.pos = i + 1
				return true
			}
		}
	}
	s.openComment = true
	return false
}

// token is a run of octets that are neither blank nor special (RFC 2045 5.1).
func (s *scanner) token() string {
	from := s.pos
	for !s.done() && isToken(s.v[s.pos]) {
		s.pos++
	}
	return s.v[from:s.pos]
}

func isToken(c byte) bool {
	switch c {
	case '(', ')', '<', '>', '@', ',', ';', ':', '\\', '"', '/', '[', ']', '?', '=':
		return false
	}
	return !isSpace(c)
}

// quoted reads a quoted string, unescaped and unfolded, if one begins here.
func (s *scanner) quoted() (string, bool) {
	if s.openQuote || s.peek() != '"' {
		return "", false
	}
	plain := true
	for i := s.pos + 1; i < len(s.v); i++ {
		switch s.v[i] {
		case '\\':
			plain = false
			i++
		case '\n':
			plain = false
		case '"':
			q := s.v[s.pos+1 : i]
			s.pos = i + 1
			if !plain {
				q = unescape(q)
			}
			return q, true
		}
	}
	s.openQuote = true
	return "", false
}

// unescape removes backslashes and the line ends of folding.
func unescape(q string) string {
	b := make([]byte, 0, len(q))
	for i := 0; i < len(q); i++ {
		switch c := q[i]; {
		case c == '\\' && i+1 < len(q):
			i++
			b = append(b, q[i])
		case c == '\n':
		case c == '\r' && i+1 < len(q) && q[i+1] == '\n':
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

func (s *scanner) quotedOr(other func() string) string {
	if q, ok := s.quoted(); ok {
		return q
	}
	return other()
}

// value is a parameter's value. Without quotes it should be a token, but many
// senders write any character: it runs to the ";", or to white space that is
// followed by a last comment or by the next "name=".
func (s *scanner) value() string {
	if q, ok := s.quoted(); ok {
		return q
	}
	s.accept('"') // without an end: the quote is not part of the value
	from := s.pos
	for !s.done() && s.v[s.pos] != ';' {
		if !isSpace(s.v[s.pos]) {
			s.pos++
			continue
		}
		end := s.pos
		for !s.done() && isSpace(s.v[s.pos]) {
			s.pos++
		}
		if s.endOfValue() {
			return s.v[from:end]
		}
	}
	return unfold(s.v[from:s.pos])
}

// endOfValue reports, behind white space, whether comments or nothing follow, and
// then the next parameter. A comment that does not end the value is part of it,
// as in "copy (1).txt", and is read.
func (s *scanner) endOfValue() bool {
	comment := s.peek() == '('
	if comment {
		s.skipBlank()
	}
	return comment && (s.done() || s.peek() == ';') || s.atParam()
}

// atParam reports whether a token and "=" follow.
func (s *scanner) atParam() bool {
	ahead := *s
	return ahead.token() != "" && ahead.peek() == '='
}

// rest is what has not been read.
func (s *scanner) rest() string { return strings.TrimSpace(s.v[s.pos:]) }
