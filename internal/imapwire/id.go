package imapwire

// id takes ID's argument: a list of pairs, or NIL.
func (l *lexer) id() (any, error) {
	if err := l.space(); err != nil {
		return nil, err
	}
	if l.peek() != '(' {
		if w, err := l.word(); err != nil || w != "NIL" {
			return nil, syntax("ID takes a list or NIL")
		}
		return new(ID), nil
	}
	c := new(ID)
	return c, l.list(maxIDPairs, true, func() error {
		field, err := l.str()
		if err != nil {
			return err
		}
		if err := l.space(); err != nil {
			return err
		}
		value, _, err := l.nstring()
		if err != nil {
			return err
		}
		if len(field) > maxIDOctets || len(value) > maxIDOctets {
			return syntax("A field of ID has more than %d octets", maxIDOctets)
		}
		c.Fields = append(c.Fields, [2]string{field, value})
		return nil
	})
}
