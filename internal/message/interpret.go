package message

import "strings"

// interpret fills part from its header and, if env is not nil, the envelope of
// the message that the header begins. digest: the default type is
// message/rfc822 (RFC 2046 5.1.5).
func (p *parser) interpret(part *Part, env *Envelope, h Header, digest bool) (sent Date) {
	var typed bool
	for pos := 0; ; {
		f, next := nextField(string(h), pos)
		if next == pos {
			break
		}
		pos = next
		switch k := kindOf(f.Name); {
		case k == kindOther:
		case k >= kindContentType:
			typed = part.content(k, f.Value) || typed
		case env != nil:
			if k == kindDate && !env.Date.Valid {
				sent, _ = ParseDate(f.Value)
			}
			p.envelope(env, k, f.Value)
		}
	}
	if env != nil {
		env.defaults()
	}
	part.contentDefaults(typed, digest)
	return sent
}

// content reads one Content-* field. The first of its kind counts. It reports
// whether it was a valid Content-Type.
func (p *Part) content(k kind, v string) (typed bool) {
	switch k {
	case kindContentType:
		if p.Type == "" {
			return p.contentType(v)
		}
	case kindContentEncoding:
		if p.Encoding == "" {
			p.Encoding = parseEncoding(v)
		}
	case kindContentDisposition:
		if p.Disposition == nil {
			p.Disposition = parseDisposition(v)
		}
	case kindContentLanguage:
		if p.Language == nil {
			p.Language = parseLanguage(v)
		}
	case kindContentID:
		first(&p.ID, v)
	case kindContentDescription:
		first(&p.Description, v)
	case kindContentLocation:
		first(&p.Location, v)
	case kindContentMD5:
		first(&p.MD5, v)
	}
	return false
}

func first(s *NString, v string) {
	if !s.Valid {
		*s = NString{unfold(v), true}
	}
}

// contentType keeps the parameters of a field whose type is invalid: a charset or
// a name is of use even so.
func (p *Part) contentType(v string) bool {
	s := scanner{v: v}
	typ, subtype, ok := s.mediaType()
	params := s.params()
	if ok {
		p.Type, p.Subtype = typ, subtype
	}
	if p.Params == nil {
		p.Params = params
	}
	return ok
}

func (p *Part) contentDefaults(typed, digest bool) {
	if p.Encoding == "" {
		p.Encoding = "7bit"
	}
	switch {
	case !typed && digest:
		p.Type, p.Subtype = "message", "rfc822"
	case !typed:
		p.Type, p.Subtype = "text", "plain"
	}
	if p.Type == "text" && p.Subtype == "plain" && p.Param("charset") == "" {
		p.Params = append(p.Params, Param{"charset", "us-ascii"})
	}
}

// plain is what a part is that does not say, or cannot be what it says.
func (p *Part) plain() {
	p.Type, p.Subtype, p.Params = "text", "plain", []Param{{"charset", "us-ascii"}}
}

// parseEncoding is the first token of a Content-Transfer-Encoding.
func parseEncoding(v string) string {
	s := scanner{v: v}
	s.skipBlank()
	if t := s.quotedOr(s.token); t != "" {
		return lower(t)
	}
	return ""
}

func parseDisposition(v string) *Disposition {
	s := scanner{v: v}
	s.skipBlank()
	d := &Disposition{Type: lower(s.quotedOr(s.token))}
	d.Params = s.params()
	if d.Type == "" {
		d.Type = "attachment" // RFC 2183 2.8: what is not understood is one
	}
	return d
}

func parseLanguage(v string) []string {
	var tags []string
	s := scanner{v: v}
	for len(tags) < maxLanguages {
		s.skipBlank()
		if s.done() {
			break
		}
		if t := s.token(); t != "" {
			tags = append(tags, t)
		} else {
			s.pos++
		}
	}
	return tags
}

// mediaType reads type "/" subtype (RFC 2045 5.1).
func (s *scanner) mediaType() (typ, subtype string, ok bool) {
	s.skipBlank()
	typ = lower(s.token())
	s.skipBlank()
	if typ == "" || !s.accept('/') {
		return "", "", false
	}
	s.skipBlank()
	subtype = lower(s.token())
	return typ, subtype, subtype != ""
}

// params reads *(";" parameter). A stray octet is skipped, a missing ";" missed
// by nobody.
func (s *scanner) params() []Param {
	var out []Param
	continued := false
	for len(out) < maxParams {
		s.skipBlank()
		if s.done() {
			break
		}
		name := s.token()
		s.skipBlank()
		if name == "" || !s.accept('=') {
			if name == "" && !s.done() {
				s.pos++
			}
			continue
		}
		s.skipBlank()
		out = append(out, Param{lower(name), s.value()})
		continued = continued || strings.IndexByte(name, '*') >= 0
	}
	if continued {
		out = joinContinuations(out)
	}
	return out
}
