package bench

import (
	"fmt"
	"math/rand/v2"
	"strconv"
)

const idDigits = 16

// template is a message whose id can be changed in place.
type template struct {
	octets []byte
	id     int // where the sixteen digits of the id are
}

// newTemplate makes a message of about size octets, at least its header. Its text
// is random letters: nothing below can profit from compressing it.
func newTemplate(rng *rand.Rand, run uint64, size int) template {
	head := fmt.Sprintf("From: Bench <bench@bench.invalid>\r\nTo: undisclosed-recipients:;\r\nSubject: load\r\n"+
		"Date: Mon, 01 Jan 2024 00:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n"+
		"Message-ID: <%016x.", run)
	m := append([]byte(head), "0000000000000000@bench.invalid>\r\n\r\n"...)
	for len(m) < size {
		for range min(76, max(size-len(m)-2, 1)) {
			m = append(m, byte('a'+rng.IntN(26)))
		}
		m = append(m, '\r', '\n')
	}
	return template{m, len(head)}
}

// number gives the message an id of its own.
func (t template) number(n uint64) {
	var digits [idDigits]byte
	b := strconv.AppendUint(digits[:0], n, 16)
	at := t.octets[t.id : t.id+idDigits]
	pad := idDigits - len(b)
	for i := range pad {
		at[i] = '0'
	}
	copy(at[pad:], b)
}
