package message

import (
	"encoding/binary"
	"slices"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Fold is s as SEARCH, SORT and THREAD compare it, in the manner of
// i;unicode-casemap (RFC 5051): each character is decomposed, for compatibility,
// and put in upper case. Two texts match if their folded octets do, and are in the
// order of these: "_" comes behind all letters of ASCII.
func Fold(s string) string {
	return string(appendFold(make([]byte, 0, len(s)), []byte(s)))
}

// appendFold folds text that is UTF-8, or should be: see appendLenient.
func appendFold(dst, text []byte) []byte {
	short := shortFolds()
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			n := len(dst)
			dst = appendUpperASCII(dst, text[i:])
			i += len(dst) - n
			continue
		}
		r, n := decodeLenient(text[i:])
		if r < shortLimit && short[r] != 0 {
			dst = utf8.AppendRune(dst, rune(short[r]))
		} else {
			dst = appendFoldRune(dst, r)
		}
		i += n
	}
	return dst
}

func appendFoldRune(dst []byte, r rune) []byte {
	var one [utf8.UTFMax]byte
	parts := norm.NFKD.Properties(utf8.AppendRune(one[:0], r)).Decomposition()
	if parts == nil {
		return utf8.AppendRune(dst, caseless(r))
	}
	for len(parts) > 0 {
		r, n := utf8.DecodeRune(parts)
		dst = utf8.AppendRune(dst, caseless(r))
		parts = parts[n:]
	}
	return dst
}

// shortLimit ends Latin, Greek and Cyrillic.
const shortLimit = 0x530

// shortFolds is the fold of each character below shortLimit that folds to one
// character below U+10000, else 0: most text that is not ASCII.
var shortFolds = sync.OnceValue(func() *[shortLimit]uint16 {
	t := new([shortLimit]uint16)
	for r := range rune(shortLimit) {
		b := appendFoldRune(nil, r)
		if f, n := utf8.DecodeRune(b); n == len(b) && f < 1<<16 {
			t[r] = uint16(f)
		}
	}
	return t
})

// caseless goes by way of upper case, where letters with several lower-case forms
// meet, and of lower case, where those with several upper-case ones do.
func caseless(r rune) rune { return unicode.ToUpper(unicode.ToLower(unicode.ToUpper(r))) }

// appendUpperASCII appends text up to its first octet that is not ASCII, in upper
// case: eight octets at once, since most text that is searched is nothing else.
func appendUpperASCII(dst, text []byte) []byte {
	const (
		ones = 0x0101010101010101
		tops = ones << 7
	)
	at := len(dst)
	dst = slices.Grow(dst, len(text))[:at+len(text)]
	out := dst[at:]
	i := 0
	for ; i+8 <= len(text); i += 8 {
		w := binary.LittleEndian.Uint64(text[i:])
		if w&tops != 0 {
			break
		}
		// The top bit of each octet says whether it is above a border; no octet
		// carries into the next one.
		lower := (w + (0x80-'a')*ones) &^ (w + (0x80-'z'-1)*ones) & tops
		binary.LittleEndian.PutUint64(out[i:], w-lower>>2) // 0x20 is what cases differ by
	}
	for ; i < len(text) && text[i] < utf8.RuneSelf; i++ {
		out[i] = upperByte(text[i])
	}
	return dst[:at+i]
}

func upperByte(c byte) byte {
	if 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}

// foldedPrefix is how much of text ends with a whole character; the rest, at
// most three octets, waits for more.
func foldedPrefix(text []byte) int {
	for back := 1; back <= 3 && back <= len(text); back++ {
		if c := text[len(text)-back]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(text[len(text)-back:]) {
				return len(text) - back
			}
			break
		}
	}
	return len(text)
}
