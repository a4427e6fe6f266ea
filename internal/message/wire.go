package message

import "strconv"

// AppendEnvelope appends an ENVELOPE's value, from "(" to ")" (RFC 3501 9).
//
// Strings are quoted if they are at most 1,000 octets of printable ASCII or tabs, and literals "{n}" CRLF
// octets otherwise: 8-bit octets, CR and LF are legal there for every client, UTF8=ACCEPT
// or not. A NUL, which is legal nowhere, is written as 0x80, as stored octets have it.
func AppendEnvelope(dst []byte, e *Envelope) []byte {
	dst = append(dst, '(')
	dst = AppendNString(dst, e.Date)
	dst = append(dst, ' ')
	dst = AppendNString(dst, e.Subject)
	for _, list := range [...][]Address{e.From, e.Sender, e.ReplyTo, e.To, e.Cc, e.Bcc} {
		dst = append(dst, ' ')
		dst = appendAddresses(dst, list)
	}
	dst = append(dst, ' ')
	dst = AppendNString(dst, e.InReplyTo)
	dst = append(dst, ' ')
	dst = AppendNString(dst, e.MessageID)
	return append(dst, ')')
}

func appendAddresses(dst []byte, list []Address) []byte {
	if len(list) == 0 {
		return append(dst, "NIL"...)
	}
	dst = append(dst, '(')
	for i := range list {
		a := &list[i]
		dst = append(dst, '(')
		dst = AppendNString(dst, a.Name)
		dst = append(dst, ' ')
		dst = AppendNString(dst, a.Adl)
		dst = append(dst, ' ')
		dst = AppendNString(dst, a.Mailbox)
		dst = append(dst, ' ')
		dst = AppendNString(dst, a.Host)
		dst = append(dst, ')')
	}
	return append(dst, ')')
}

// AppendBodyStructure appends the value of BODY, or of BODYSTRUCTURE with its
// extension data if extended is set. Strings are written as by [AppendEnvelope].
func AppendBodyStructure(dst []byte, p *Part, extended bool) []byte {
	dst = append(dst, '(')
	if p.IsMultipart() {
		for _, c := range p.Children {
			dst = AppendBodyStructure(dst, c, extended)
		}
		dst = append(dst, ' ')
		dst = AppendString(dst, p.Subtype)
		if extended {
			dst = append(dst, ' ')
			dst = appendParams(dst, p.Params)
			dst = p.appendExtension(dst)
		}
		return append(dst, ')')
	}
	dst = p.appendFields(dst)
	if p.IsMessage() {
		dst = append(dst, ' ')
		dst = AppendEnvelope(dst, p.Envelope)
		dst = append(dst, ' ')
		dst = AppendBodyStructure(dst, p.Children[0], extended)
	}
	if p.IsMessage() || p.Type == "text" {
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, p.Lines, 10)
	}
	if extended {
		dst = append(dst, ' ')
		dst = AppendNString(dst, p.MD5)
		dst = p.appendExtension(dst)
	}
	return append(dst, ')')
}

// appendFields writes the media type and body-fields.
func (p *Part) appendFields(dst []byte) []byte {
	dst = AppendString(dst, p.Type)
	dst = append(dst, ' ')
	dst = AppendString(dst, p.Subtype)
	dst = append(dst, ' ')
	dst = appendParams(dst, p.Params)
	dst = append(dst, ' ')
	dst = AppendNString(dst, p.ID)
	dst = append(dst, ' ')
	dst = AppendNString(dst, p.Description)
	dst = append(dst, ' ')
	dst = AppendString(dst, p.Encoding)
	dst = append(dst, ' ')
	return strconv.AppendInt(dst, p.Size(), 10)
}

func appendParams(dst []byte, params []Param) []byte {
	if len(params) == 0 {
		return append(dst, "NIL"...)
	}
	for i, q := range params {
		dst = append(dst, " ("[b2i(i == 0)])
		dst = AppendString(dst, q.Name)
		dst = append(dst, ' ')
		dst = AppendString(dst, q.Value)
	}
	return append(dst, ')')
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// appendExtension writes disposition, language and location.
func (p *Part) appendExtension(dst []byte) []byte {
	if d := p.Disposition; d != nil {
		dst = append(dst, " ("...)
		dst = AppendString(dst, d.Type)
		dst = append(dst, ' ')
		dst = appendParams(dst, d.Params)
		dst = append(dst, ") "...)
	} else {
		dst = append(dst, " NIL "...)
	}
	dst = appendLanguage(dst, p.Language)
	dst = append(dst, ' ')
	return AppendNString(dst, p.Location)
}

func appendLanguage(dst []byte, tags []string) []byte {
	switch len(tags) {
	case 0:
		return append(dst, "NIL"...)
	case 1:
		return AppendString(dst, tags[0])
	}
	for i, t := range tags {
		dst = append(dst, " ("[b2i(i == 0)])
		dst = AppendString(dst, t)
	}
	return append(dst, ')')
}

// AppendNString appends s as an nstring: NIL if it is absent.
func AppendNString(dst []byte, s NString) []byte {
	if !s.Valid {
		return append(dst, "NIL"...)
	}
	return AppendString(dst, s.Value)
}

// AppendString appends s as a quoted string or, where that cannot be, a literal.
func AppendString(dst []byte, s string) []byte {
	if len(s) > maxQuoted {
		return appendLiteral(dst, s)
	}
	escape := false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 0x7f, c < ' ' && c != '\t':
			return appendLiteral(dst, s)
		case c == '"', c == '\\':
			escape = true
		}
	}
	dst = append(dst, '"')
	if !escape {
		dst = append(dst, s...)
		return append(dst, '"')
	}
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

func appendLiteral(dst []byte, s string) []byte {
	dst = append(dst, '{')
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	dst = append(dst, "}\r\n"...)
	n := len(dst)
	dst = append(dst, s...)
	for i := n; i < len(dst); i++ {
		if dst[i] == 0 {
			dst[i] = 0x80
		}
	}
	return dst
}
