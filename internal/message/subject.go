package message

import "strings"

// BaseSubject is the base subject of RFC 5256 2.1, from the value of a Subject
// field as written; reply says that something marked it as a reply or forward.
// Compare base subjects with [Fold]. Blobs are removed in one go, so that time is
// linear.
func BaseSubject(value string) (base string, reply bool) {
	s := collapse(DecodeText(value))
	for {
		s = trailer(s, &reply)
		s = leaders(s, &reply)
		inner, ok := forwarded(s)
		if !ok {
			return s, reply
		}
		s, reply = inner, true
	}
}

// collapse makes one space of each run of white space, and none at the ends.
func collapse(s string) string {
	plain := true
	for i := range len(s) {
		if c := s[i]; c == '\t' || c == ' ' && (i == 0 || i == len(s)-1 || s[i-1] == ' ') {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' }), " ")
}

// trailer removes every "(fwd)" from the end.
func trailer(s string, reply *bool) string {
	for {
		s = strings.TrimRight(s, " ")
		n := len(s) - len("(fwd)")
		if n < 0 || !equalFold(s[n:], "(fwd)") {
			return s
		}
		s, *reply = s[:n], true
	}
}

// leaders removes "Re:", "Fw:", "Fwd:", with blobs around them, and blobs that
// leave something behind.
func leaders(s string, reply *bool) string {
	for {
		s = strings.TrimLeft(s, " ")
		rest, last := blobs(s)
		if after, ok := refwd(rest); ok {
			s, *reply = after, true
			continue
		}
		if rest == "" {
			return last
		}
		return rest
	}
}

// blobs removes "[...]" as often as it stands at the front; last is s from the
// last of them on.
func blobs(s string) (rest, last string) {
	last = s
	for strings.HasPrefix(s, "[") {
		i := strings.IndexAny(s[1:], "[]")
		if i < 0 || s[i+1] != ']' {
			break
		}
		last = s
		s = strings.TrimLeft(s[i+2:], " ")
	}
	return s, last
}

// refwd removes one "re", "fw" or "fwd", a blob, and the colon.
func refwd(s string) (string, bool) {
	n := 0
	switch {
	case len(s) >= 3 && equalFold(s[:3], "fwd"):
		n = 3
	case len(s) >= 2 && (equalFold(s[:2], "re") || equalFold(s[:2], "fw")):
		n = 2
	default:
		return s, false
	}
	after := strings.TrimLeft(s[n:], " ")
	if strings.HasPrefix(after, "[") {
		i := strings.IndexAny(after[1:], "[]")
		if i < 0 || after[i+1] != ']' {
			return s, false
		}
		after = strings.TrimLeft(after[i+2:], " ")
	}
	return strings.CutPrefix(after, ":")
}

// forwarded unwraps "[fwd: ...]".
func forwarded(s string) (string, bool) {
	const head = "[fwd:"
	if len(s) <= len(head) || !equalFold(s[:len(head)], head) || s[len(s)-1] != ']' {
		return s, false
	}
	return strings.Trim(s[len(head):len(s)-1], " "), true
}
