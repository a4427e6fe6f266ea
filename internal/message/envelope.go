package message

// Envelope is what FETCH ENVELOPE gives (RFC 3501 7.4.2). Values are as written,
// unfolded, encoded words kept. Fields that occur more than once: the first of a
// text, all of the addresses. Sender and ReplyTo are From where they are absent
// or without an address.
type Envelope struct {
	Date      NString
	Subject   NString
	From      []Address
	Sender    []Address
	ReplyTo   []Address
	To        []Address
	Cc        []Address
	Bcc       []Address
	InReplyTo NString
	MessageID NString
}

func (p *parser) envelope(e *Envelope, k kind, v string) {
	switch k {
	case kindDate:
		first(&e.Date, v)
	case kindSubject:
		first(&e.Subject, v)
	case kindMessageID:
		first(&e.MessageID, v)
	case kindInReplyTo:
		first(&e.InReplyTo, v)
	default:
		if list := e.list(k); list != nil {
			*list = p.addressList(*list, v)
		}
	}
}

// Contains reports whether the field of that name, Subject, From, To, Cc or Bcc, has n
// in its decoded value: SEARCH SUBJECT, FROM and so on, which compare what the envelope
// says (RFC 9051 6.4.4). An address is "name <mailbox@host>" there, however it was
// written. The zero needle asks for the field alone.
func (e *Envelope) Contains(field string, n Needle) bool {
	k := kindOf(field)
	if k == kindSubject {
		return e.Subject.Valid && n.In(DecodeText(e.Subject.Value))
	}
	list := e.list(k)
	return list != nil && len(*list) > 0 && n.In(addressText(*list))
}

// addressText is addresses as a reader of the message has them before him.
func addressText(list []Address) string {
	var b []byte
	between := false
	for i := range list {
		a := &list[i]
		if !a.Mailbox.Valid {
			b = append(b, ';')
			continue
		}
		if between {
			b = append(b, ", "...)
		}
		between = a.Host.Valid
		b = a.appendText(b)
	}
	return string(b)
}

// appendText appends "name <mailbox@host>", or without a name "mailbox@host", or a
// group's name and a colon.
func (a *Address) appendText(b []byte) []byte {
	if !a.Host.Valid {
		return append(appendText(b, a.Mailbox.Value), ": "...)
	}
	name := DecodeText(a.Name.Value)
	if name != "" {
		b = append(append(b, name...), " <"...)
	}
	b = append(append(append(b, a.Mailbox.Value...), '@'), a.Host.Value...)
	if name != "" {
		b = append(b, '>')
	}
	return b
}

func (e *Envelope) list(k kind) *[]Address {
	switch k {
	case kindFrom:
		return &e.From
	case kindSender:
		return &e.Sender
	case kindReplyTo:
		return &e.ReplyTo
	case kindTo:
		return &e.To
	case kindCc:
		return &e.Cc
	case kindBcc:
		return &e.Bcc
	}
	return nil
}

func (p *parser) addressList(dst []Address, v string) []Address {
	n := len(dst)
	dst = Addresses(dst, v, maxAddresses-p.addresses)
	p.addresses += len(dst) - n
	return dst
}

func (e *Envelope) defaults() {
	if len(e.Sender) == 0 {
		e.Sender = e.From
	}
	if len(e.ReplyTo) == 0 {
		e.ReplyTo = e.From
	}
}
