package imapwire

import "fmt"

// SyntaxError says in one sentence what is wrong with a command. It is the text
// of a BAD response, ASCII and without line ends.
type SyntaxError struct {
	Tag  string // of the command; "" if it has none that can be echoed
	Code string // response code without brackets, or ""
	No   bool   // the answer is NO: well-formed, but not to be had
	Save bool   // a search with SAVE is refused, which empties "$" (RFC 5182 2.1)
	Text string
}

// Error is the sentence.
func (e *SyntaxError) Error() string { return e.Text }

func syntax(format string, args ...any) error {
	return &SyntaxError{Text: fmt.Sprintf(format, args...)}
}
