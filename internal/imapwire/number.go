package imapwire

// number takes a decimal number up to limit.
func (l *lexer) number(limit uint64) (uint64, error) {
	start := l.pos
	var n uint64
	for l.pos < len(l.text) && isDigit(l.text[l.pos]) {
		d := uint64(l.text[l.pos] - '0')
		if n > (limit-d)/10 {
			return 0, syntax("Number at octet %d is too large", start+1)
		}
		n = n*10 + d
		l.pos++
	}
	if l.pos == start {
		return 0, l.expected("a number")
	}
	return n, nil
}

const (
	maxUint32 = 1<<32 - 1
	maxInt63  = 1<<63 - 1
)

// nonZero takes a number from 1 to 2^32-1.
func (l *lexer) nonZero() (uint32, error) {
	at := l.pos
	n, err := l.number(maxUint32)
	if err == nil && n == 0 {
		err = syntax("Zero is not allowed at octet %d", at+1)
	}
	return uint32(n), err
}
