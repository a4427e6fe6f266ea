package imapwire

import (
	"fmt"
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
)

// AppendSearch appends a command, with its line end, that Parse makes into a Sort with
// these Criteria, the Program and the Items of a or, without criteria, into a Search. It
// asks for nothing to be returned but, with items, UPDATE.
func AppendSearch(dst []byte, tag string, uid bool, by []SortCriterion, a *Search) []byte {
	dst = append(append(dst, tag...), ' ')
	if uid {
		dst = append(dst, "UID "...)
	}
	if len(by) == 0 {
		dst = appendUpdate(append(dst, "SEARCH "...), a.Items)
	} else {
		dst = append(appendUpdate(append(dst, "SORT "...), a.Items), '(')
		for i, c := range by {
			if i > 0 {
				dst = append(dst, ' ')
			}
			if c.Reverse {
				dst = append(dst, "REVERSE "...)
			}
			dst = append(dst, sortNames[c.Key]...)
		}
		dst = append(dst, ") UTF-8 "...)
	}
	return appendProgram(dst, &a.Program)
}

// AppendEsearch appends a command, with its line end, that Parse makes into an Esearch of
// the selected mailbox, like AppendSearch.
func AppendEsearch(dst []byte, tag string, a *Search) []byte {
	return appendProgram(appendUpdate(append(append(dst, tag...), " ESEARCH "...), a.Items), &a.Program)
}

func appendUpdate(dst []byte, items []FetchItem) []byte {
	if len(items) == 0 {
		return dst
	}
	return append(appendFetchItems(append(dst, "RETURN (UPDATE ("...), items), ")) "...)
}

func appendProgram(dst []byte, program *SearchKey) []byte {
	for i := range program.Keys {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = appendKey(dst, &program.Keys[i])
	}
	return append(dst, "\r\n"...)
}

// flagKeys are the keys of flags, of what is not set as well.
var flagKeys = map[mail.Flags]string{
	mail.Answered: "ANSWERED", mail.Deleted: "DELETED", mail.Draft: "DRAFT", mail.Flagged: "FLAGGED", mail.Seen: "SEEN",
}

// appendKey appends a key as the tables of searchkey.go have it.
func appendKey(dst []byte, k *SearchKey) []byte {
	switch k.Kind {
	case KeyAll:
		return append(dst, "ALL"...)
	case KeyAnd:
		dst = append(dst, '(')
		for i := range k.Keys {
			if i > 0 {
				dst = append(dst, ' ')
			}
			dst = appendKey(dst, &k.Keys[i])
		}
		return append(dst, ')')
	case KeyOr:
		dst = appendKey(append(dst, "OR "...), &k.Keys[0])
		return appendKey(append(dst, ' '), &k.Keys[1])
	case KeyNot:
		return appendKey(append(dst, "NOT "...), &k.Keys[0])
	case KeySeq:
		return appendSeqSet(dst, k.Set)
	case KeyUID:
		return appendSeqSet(append(dst, "UID "...), k.Set)
	case KeyFlag:
		return append(dst, flagKeys[k.Flag]...)
	case KeyKeyword:
		return append(append(dst, "KEYWORD "...), k.Text...)
	case KeyRecent:
		return append(dst, "RECENT"...)
	case KeyHeader:
		dst = AppendString(append(dst, "HEADER "...), k.Field)
		return AppendString(append(dst, ' '), k.Text)
	case KeyEnvelope:
		return AppendString(append(append(dst, strings.ToUpper(k.Field)...), ' '), k.Text)
	case KeyBefore, KeyOn, KeySince:
		return appendDateKey(dst, k)
	case KeyHasSaveDate:
		return append(dst, "SAVEDATESUPPORTED"...)
	}
	if name, ok := textKeys[k.Kind]; ok {
		return AppendString(append(append(dst, name...), ' '), k.Text)
	}
	return AppendNumber(append(append(dst, numberKeys[k.Kind]...), ' '), k.Number)
}

var textKeys = map[KeyKind]string{
	KeyBody: "BODY", KeyText: "TEXT", KeyEmailID: "EMAILID", KeyThreadID: "THREADID",
}

var numberKeys = map[KeyKind]string{
	KeyLarger: "LARGER", KeySmaller: "SMALLER", KeyOlder: "OLDER", KeyYounger: "YOUNGER", KeyModSeq: "MODSEQ",
}

var dateKeys = map[KeyKind]string{KeyBefore: "BEFORE", KeyOn: "ON", KeySince: "SINCE"}

var dateOf = [...]string{Internal: "", Sent: "SENT", Saved: "SAVED"}

func appendDateKey(dst []byte, k *SearchKey) []byte {
	month := k.Date.Month.String()[:3]
	return fmt.Appendf(dst, "%s%s %d-%s-%04d", dateOf[k.Of], dateKeys[k.Kind], k.Date.Day, month, k.Date.Year)
}

// appendSeqSet appends a sequence set as written, but for the order within a range.
func appendSeqSet(dst []byte, s SeqSet) []byte {
	if s.Saved {
		return append(dst, '$')
	}
	number := func(n uint32) {
		if n == Star {
			dst = append(dst, '*')
		} else {
			dst = AppendNumber(dst, n)
		}
	}
	for i, r := range s.Ranges {
		if i > 0 {
			dst = append(dst, ',')
		}
		number(r.Lo)
		if r.Hi != r.Lo {
			dst = append(dst, ':')
			number(r.Hi)
		}
	}
	return dst
}

// Has reports whether the program has a key of that kind.
func (s *Search) Has(kind KeyKind) bool { return s.Program.has(kind) }
