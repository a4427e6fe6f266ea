package lmtpd

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxAddress bounds an address in octets; RFC 5321 asks for 256 at least.
const maxAddress = 1000

// cutPath takes "FROM:<path> params" or "TO:<path> params" apart. The path loses
// its angle brackets and source route (RFC 5321 section 4.1.2, appendix C).
func cutPath(arg, keyword string) (path, params string, ok bool) {
	if len(arg) <= len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) || arg[len(keyword)] != ':' {
		return "", "", false
	}
	arg = strings.TrimLeft(arg[len(keyword)+1:], " ")
	end := closingBracket(arg)
	if end < 0 {
		return "", "", false
	}
	path, params = arg[1:end], arg[end+1:]
	if params != "" && params[0] != ' ' {
		return "", "", false
	}
	if strings.HasPrefix(path, "@") {
		_, after, found := strings.Cut(path, ":")
		if !found {
			return "", "", false
		}
		path = after
	}
	return path, params, len(path) <= maxAddress && cleanAddress(path)
}

// closingBracket returns the index of the '>' that ends the path s begins with,
// -1 if there is none. Inside a quoted local part '>' and '\' are content.
func closingBracket(s string) int {
	if s == "" || s[0] != '<' {
		return -1
	}
	quoted := false
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == '>' && !quoted:
			return i
		}
	}
	return -1
}

// cleanAddress refuses octets that no address has: controls, blanks and angle
// brackets outside quotes, broken UTF-8. What else is wrong with an address, the
// backend finds by not knowing it.
func cleanAddress(s string) bool {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f:
			return false
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
			if i == len(s) || s[i] < ' ' || s[i] == 0x7f {
				return false
			}
		case !quoted && (c == ' ' || c == '<' || c == '>'):
			return false
		}
	}
	return !quoted && utf8.ValidString(s)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// parseMailParams reads the parameters of MAIL into p.
func parseMailParams(s string, p *MailParams) *Reply {
	for f := range strings.FieldsSeq(s) {
		key, value, _ := strings.Cut(f, "=")
		switch strings.ToUpper(key) {
		case "SIZE":
			n, err := strconv.ParseUint(value, 10, 63)
			if err != nil {
				return replySyntax
			}
			p.Size = int64(n)
		case "BODY":
			p.Body = strings.ToUpper(value)
			if p.Body != "7BIT" && p.Body != "8BITMIME" {
				return replyBadParam
			}
		case "SMTPUTF8":
			if value != "" {
				return replySyntax
			}
			p.UTF8 = true
		default:
			return replyBadParam
		}
	}
	return nil
}
