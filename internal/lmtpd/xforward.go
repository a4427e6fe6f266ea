package lmtpd

import "strings"

// XForward is what a trusted MTA says about where the message came from
// (Postfix XFORWARD_README). Unknown values are empty. Never trust it further
// than the peer that sent it.
type XForward struct {
	Name, Addr, Port, Proto, Helo, Ident, Source string
}

const xforwardNames = "NAME ADDR PORT PROTO HELO IDENT SOURCE"

func (x *XForward) field(name string) *string {
	switch strings.ToUpper(name) {
	case "NAME":
		return &x.Name
	case "ADDR":
		return &x.Addr
	case "PORT":
		return &x.Port
	case "PROTO":
		return &x.Proto
	case "HELO":
		return &x.Helo
	case "IDENT":
		return &x.Ident
	case "SOURCE":
		return &x.Source
	}
	return nil
}

// parse takes "NAME=value ..." with xtext values (RFC 3461 section 4) over into x.
func (x *XForward) parse(arg string) *Reply {
	next := *x
	n := 0
	for f := range strings.FieldsSeq(arg) {
		key, value, found := strings.Cut(f, "=")
		p := next.field(key)
		if p == nil || !found || len(value) > 255 {
			return replySyntax
		}
		text, ok := decodeXText(value)
		if !ok {
			return replySyntax
		}
		if strings.EqualFold(text, "[UNAVAILABLE]") || strings.EqualFold(text, "[TEMPUNAVAIL]") {
			text = ""
		}
		*p = text
		n++
	}
	if n == 0 {
		return replySyntax
	}
	*x = next
	return nil
}

// decodeXText decodes xtext; control octets are not let through.
func decodeXText(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			if i+2 >= len(s) {
				return "", false
			}
			hi, lo := hexDigit(s[i+1]), hexDigit(s[i+2])
			if hi < 0 || lo < 0 {
				return "", false
			}
			c = byte(hi<<4 | lo)
			i += 2
		}
		if c < ' ' || c == 0x7f {
			return "", false
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
