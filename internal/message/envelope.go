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
