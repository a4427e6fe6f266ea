package message

import (
	"strings"
)

// DecodeText is an unstructured or display value in UTF-8: unfolded, encoded
// words decoded (RFC 2047), 8-bit octets taken as UTF-8 or else windows-1252.
//
// It forgives blanks inside an encoded word, and characters divided between two.
// An encoded word of an unknown charset keeps its octets, read like undeclared
// ones; what only resembles an encoded word stays as it is.
func DecodeText(v string) string {
	if isPlain(v) {
		return v
	}
	return string(appendText(nil, v))
}

// isPlain reports whether v is printable ASCII without an encoded word.
func isPlain(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < ' ' || c >= 0x7f || c == '=' && i+1 < len(v) && v[i+1] == '?' {
			return false
		}
	}
	return true
}

func appendText(dst []byte, v string) []byte {
	d := wordDecoder{out: dst}
	for v != "" {
		i := strings.Index(v, "=?")
		if i < 0 {
			break
		}
		w, n, ok := parseWord(v[i:])
		if !ok {
			d.text(v[:i+2])
			v = v[i+2:]
			continue
		}
		if d.charset == "" || strings.Trim(v[:i], " \t\r\n") != "" {
			d.text(v[:i])
		}
		d.word(w)
		v = v[i+n:]
	}
	d.text(v)
	return d.out
}

type encodedWord struct {
	charset, text string
	quoted        bool
}

// parseWord reads "=?charset*language?encoding?text?=" at the start of v.
func parseWord(v string) (w encodedWord, n int, ok bool) {
	i := strings.IndexByte(v[2:], '?') + 2
	if i < 3 || i+2 >= len(v) || v[i+2] != '?' {
		return w, 0, false
	}
	w.charset, _, _ = strings.Cut(v[2:i], "*")
	switch v[i+1] {
	case 'q', 'Q':
		w.quoted = true
	case 'b', 'B':
	default:
		return w, 0, false
	}
	from := i + 3
	end := strings.IndexByte(v[from:], '?') + from
	// A question mark that does not end the word belongs to it, in the Q encoding
	// of careless senders.
	for tries := 0; end >= from && w.quoted && tries < 8; tries++ {
		if end+1 < len(v) && v[end+1] == '=' {
			break
		}
		next := strings.IndexByte(v[end+1:], '?')
		if next < 0 {
			return w, 0, false
		}
		end += 1 + next
	}
	if end < from || end+1 >= len(v) || v[end+1] != '=' {
		return w, 0, false
	}
	w.text = v[from:end]
	return w, end + 2, true
}

// wordDecoder joins the octets of adjacent words of one charset before it decodes.
type wordDecoder struct {
	out     []byte
	charset string // of pending; "" if the last thing was no encoded word
	pending []byte
}

func (d *wordDecoder) word(w encodedWord) {
	if !equalFold(d.charset, w.charset) {
		d.flush()
		d.charset = w.charset
	}
	if w.quoted {
		d.pending = appendQ(d.pending, w.text)
	} else {
		var b base64Decoder
		d.pending = b.decode(d.pending, []byte(w.text), true)
	}
}

func (d *wordDecoder) flush() {
	if d.charset != "" {
		d.out = appendCharset(d.out, d.pending, d.charset)
	}
	d.charset, d.pending = "", d.pending[:0]
}

// text adds what is no encoded word, without line ends.
func (d *wordDecoder) text(v string) {
	d.flush()
	for {
		i := strings.IndexAny(v, "\r\n")
		if i < 0 {
			break
		}
		d.out = appendLenient(d.out, []byte(v[:i]))
		v = v[i+1:]
	}
	d.out = appendLenient(d.out, []byte(v))
}

// appendQ decodes the Q encoding (RFC 2047 4.2).
func appendQ(dst []byte, v string) []byte {
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '_':
			dst = append(dst, ' ')
		case c == '=' && i+2 < len(v) && isHex(v[i+1]) && isHex(v[i+2]):
			dst = append(dst, unhex(v[i+1])<<4|unhex(v[i+2]))
			i += 2
		case c == '\r', c == '\n':
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
