package imapwire

import "strconv"

// maxQuoted is the longest string that is written quoted. Longer ones become
// literals: some clients have short buffers.
const maxQuoted = 1000

// AppendNumber appends n in decimal.
func AppendNumber[N ~int | ~int64 | ~uint32 | ~uint64](dst []byte, n N) []byte {
	if n < 0 {
		return strconv.AppendInt(dst, int64(n), 10)
	}
	return strconv.AppendUint(dst, uint64(n), 10)
}

// AppendAString appends s as an atom if it is one, else as a string.
func AppendAString(dst []byte, s string) []byte {
	if s == "" || len(s) > maxQuoted || isNIL(s) {
		return AppendString(dst, s)
	}
	for i := range len(s) {
		if !isAtomChar(s[i]) {
			return AppendString(dst, s)
		}
	}
	return append(dst, s...)
}

func isNIL(s string) bool {
	return len(s) == 3 && s[0]|' ' == 'n' && s[1]|' ' == 'i' && s[2]|' ' == 'l'
}

// AppendString appends s as a quoted string, or as a literal where a quoted one
// cannot be: 8-bit and control octets, or very long. A NUL, legal in neither,
// becomes 0x80.
func AppendString(dst []byte, s string) []byte {
	if len(s) > maxQuoted {
		return appendLiteral(dst, s)
	}
	for i := range len(s) {
		if c := s[i]; c >= 0x7f || c < ' ' && c != '\t' {
			return appendLiteral(dst, s)
		}
	}
	return appendQuoted(dst, s)
}

func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

func appendLiteral(dst []byte, s string) []byte {
	dst = AppendLiteralHead(dst, int64(len(s)), false)
	n := len(dst)
	dst = append(dst, s...)
	for i := n; i < len(dst); i++ {
		if dst[i] == 0 {
			dst[i] = 0x80
		}
	}
	return dst
}

// AppendLiteralHead appends the announcement of n octets that the caller adds,
// as a literal8 if they may contain NUL.
func AppendLiteralHead(dst []byte, n int64, binary bool) []byte {
	if binary {
		dst = append(dst, '~')
	}
	dst = append(dst, '{')
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, "}\r\n"...)
}
