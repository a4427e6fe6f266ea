package imapwire

// Login is LOGIN, which the front end executes.
type Login struct{ User, Password string }

// Authenticate is AUTHENTICATE. Initial is the initial response as it is written,
// base64 or "=" for an empty one (RFC 4959); "" if there is none.
type Authenticate struct{ Mechanism, Initial string }

// Compress is COMPRESS (RFC 4978).
type Compress struct{ Mechanism string }

func (l *lexer) login() (any, error) {
	var c Login
	var err error
	if c.User, err = l.argString(); err != nil {
		return nil, err
	}
	c.Password, err = l.argString()
	return &c, err
}

// argString takes a space and an astring.
func (l *lexer) argString() (string, error) {
	if err := l.space(); err != nil {
		return "", err
	}
	return l.astring()
}

func (l *lexer) authenticate() (any, error) {
	mechanism, err := l.argWord()
	if err != nil {
		return nil, err
	}
	c := &Authenticate{Mechanism: mechanism}
	if !l.accept(' ') || l.atEnd() {
		return c, nil
	}
	c.Initial = l.while(isBase64)
	if c.Initial == "" {
		return nil, l.expected("base64")
	}
	return c, nil
}

func isBase64(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || isDigit(c) || c == '+' || c == '/' || c == '='
}

func (l *lexer) compress() (any, error) {
	mechanism, err := l.argWord()
	return &Compress{mechanism}, err
}

// argWord takes a space and an atom, in upper case.
func (l *lexer) argWord() (string, error) {
	if err := l.space(); err != nil {
		return "", err
	}
	return l.word()
}
