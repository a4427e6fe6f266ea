package imapwire

// CancelUpdate is CANCELUPDATE (RFC 5267 4.3.5).
type CancelUpdate struct{ Tags []string }

func (l *lexer) cancelUpdate() (any, error) {
	c := new(CancelUpdate)
	for !l.atEnd() && len(c.Tags) < maxItems {
		if err := l.space(); err != nil {
			return nil, err
		}
		tag, err := l.astring()
		if err != nil {
			return nil, err
		}
		c.Tags = append(c.Tags, tag)
	}
	if len(c.Tags) == 0 {
		return nil, l.space()
	}
	return c, nil
}
