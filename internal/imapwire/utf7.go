package imapwire

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

var (
	errUTF7 = errors.New("not valid modified UTF-7")

	utf7Base64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").
			WithPadding(base64.NoPadding).Strict()
)

// DecodeUTF7 reads modified UTF-7 (RFC 3501 5.1.3), strictly: every text has one
// encoding only, so that no name has two.
func DecodeUTF7(s string) (string, error) {
	if strings.IndexByte(s, '&') < 0 && printable(s) {
		return s, nil
	}
	var b strings.Builder
	shifted := false // the last thing was an encoded run
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c < ' ' || c > '~':
			return "", errUTF7
		case c != '&':
			b.WriteByte(c)
			i++
			shifted = false
		case i+1 < len(s) && s[i+1] == '-':
			b.WriteByte('&')
			i += 2
			shifted = false
		default:
			end := strings.IndexByte(s[i:], '-')
			if end < 0 || shifted {
				return "", errUTF7
			}
			if err := decodeRun(&b, s[i+1:i+end]); err != nil {
				return "", err
			}
			i += end + 1
			shifted = true
		}
	}
	return b.String(), nil
}

// decodeRun decodes what stands between "&" and "-".
func decodeRun(b *strings.Builder, s string) error {
	if strings.ContainsAny(s, "\r\n") {
		return errUTF7 // which the base64 package would skip
	}
	u, err := utf7Base64.DecodeString(s)
	if err != nil || len(u) == 0 || len(u)%2 != 0 {
		return errUTF7
	}
	for i := 0; i < len(u); i += 2 {
		r := rune(u[i])<<8 | rune(u[i+1])
		if utf16.IsSurrogate(r) {
			if i+4 > len(u) {
				return errUTF7
			}
			r = utf16.DecodeRune(r, rune(u[i+2])<<8|rune(u[i+3]))
			if r == utf8.RuneError {
				return errUTF7
			}
			i += 2
		} else if ' ' <= r && r <= '~' {
			return errUTF7 // printable ASCII stands for itself
		}
		b.WriteRune(r)
	}
	return nil
}

// AppendUTF7 appends s, which is UTF-8, as modified UTF-7. Invalid octets become U+FFFD.
func AppendUTF7(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '&':
			dst = append(dst, '&', '-')
			i++
		case ' ' <= c && c <= '~':
			dst = append(dst, c)
			i++
		default:
			end := i
			for end < len(s) && (s[end] < ' ' || s[end] > '~') {
				end++
			}
			dst = appendRun(dst, s[i:end])
			i = end
		}
	}
	return dst
}

func appendRun(dst []byte, s string) []byte {
	var u []byte
	for _, r := range s {
		if r1, r2 := utf16.EncodeRune(r); r1 != utf8.RuneError {
			u = append(u, byte(r1>>8), byte(r1), byte(r2>>8), byte(r2))
		} else {
			u = append(u, byte(r>>8), byte(r))
		}
	}
	dst = append(dst, '&')
	dst = utf7Base64.AppendEncode(dst, u)
	return append(dst, '-')
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
