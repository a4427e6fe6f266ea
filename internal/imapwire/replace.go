package imapwire

// Replace is REPLACE and UID REPLACE (RFC 8508): Set names one message.
type Replace struct {
	Set SeqSet
	Append
}

func (l *lexer) replace() (any, error) {
	if err := l.space(); err != nil {
		return nil, err
	}
	n, err := l.seqNumber()
	if err != nil {
		return nil, err
	}
	r := &Replace{Set: SeqSet{Ranges: []SeqRange{{n, n}}}}
	if r.Mailbox, err = l.argMailbox(); err != nil {
		return nil, err
	}
	m, err := l.appendMessage()
	r.Messages = []AppendMessage{m}
	return r, err
}
