package imapwire

import "time"

// Append is APPEND with one or more messages (RFC 3502).
type Append struct {
	Mailbox  string
	Messages []AppendMessage
}

// AppendMessage is one message of APPEND.
type AppendMessage struct {
	Flags   FlagList
	Date    time.Time // zero: none was given
	Literal Literal
	UTF8    bool      // "UTF8 (~{n}": the header may have UTF-8 (RFC 6855 4)
	Parts   []CatPart // CATENATE, instead of Literal
}

// maxMessages is how many messages one APPEND may have.
const maxMessages = 1000

func (l *lexer) appendCommand() (any, error) {
	name, err := l.argMailbox()
	if err != nil {
		return nil, err
	}
	a := &Append{Mailbox: name}
	for {
		m, err := l.appendMessage()
		if err != nil {
			return nil, err
		}
		a.Messages = append(a.Messages, m)
		if l.atEnd() {
			return a, nil
		}
		if len(a.Messages) == maxMessages {
			return nil, syntax("More than %d messages in one APPEND", maxMessages)
		}
	}
}

func (l *lexer) appendMessage() (m AppendMessage, err error) {
	if err = l.space(); err != nil {
		return m, err
	}
	if l.peek() == '(' {
		if m.Flags, err = l.flagList(); err != nil {
			return m, err
		}
		if err = l.space(); err != nil {
			return m, err
		}
	}
	if l.peek() == '"' {
		if m.Date, err = l.dateTime(); err != nil {
			return m, err
		}
		if err = l.space(); err != nil {
			return m, err
		}
	}
	if l.nextWord("CATENATE") {
		m.Parts, err = l.catenate()
		return m, err
	}
	if l.nextWord("UTF8") {
		m.UTF8 = true
		if err = l.expect('('); err != nil {
			return m, err
		}
	}
	if m.Literal, err = l.literal(); err == nil && m.UTF8 {
		err = l.expect(')')
	}
	return m, err
}
