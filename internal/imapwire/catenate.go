package imapwire

// CatPart is a part of a message that CATENATE puts together (RFC 4469): the octets of
// a literal, or of what a URL names.
type CatPart struct {
	URL     string // "": Literal
	Literal Literal
}

// maxParts is how many parts one message may be put together of.
const maxParts = 1000

// catenate takes what stands behind CATENATE.
func (l *lexer) catenate() (parts []CatPart, err error) {
	err = l.list(maxParts, false, func() error {
		var p CatPart
		w, err := l.word()
		if err != nil {
			return err
		}
		if err := l.space(); err != nil {
			return err
		}
		switch w {
		case "TEXT":
			p.Literal, err = l.literal()
		case "URL":
			p.URL, err = l.url()
		default:
			err = syntax("CATENATE knows TEXT and URL")
		}
		parts = append(parts, p)
		return err
	})
	return parts, err
}
