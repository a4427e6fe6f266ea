package e2e

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"

	"github.com/tandemail/tandemail/e2e/ledger"
)

const tokenField = "X-Ledger: "

// content returns the octets that a token names, always the same. Among them is
// what real mail and attackers contain: bare LF, dots after every kind of line
// end, NUL, 8-bit octets, very long lines.
func content(token ledger.Token) []byte {
	h := fnv.New64a()
	h.Write([]byte(token))
	rng := rand.New(rand.NewPCG(h.Sum64(), 1))
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%s\r\nFrom: <ledger@example.test>\r\nSubject: ledger %s\r\nMessage-ID: <%s@ledger.invalid>\r\n\r\n", tokenField, token, token, token)
	size := b.Len() + 200 + rng.IntN(4000)
	if rng.IntN(50) == 0 {
		size += 200_000
	}
	for b.Len() < size {
		if rng.IntN(8) == 0 {
			b.WriteString(oddities[rng.IntN(len(oddities))])
			continue
		}
		for range 1 + rng.IntN(70) {
			b.WriteByte(byte(' ' + rng.IntN(95)))
		}
		b.WriteString("\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

var oddities = []string{
	".\r\n", "..\r\n", ".", "\n", "\n.\n", "\n.\r\n", "\r\n.\n", "\r\r\n.\r\n", "\r", "\x80\xff", "grüße\r\n", "From here\r\n",
	strings.Repeat("x", 3000) + "\r\n",
}

// withNUL tells whether a delivery of the token carries NUL octets. IMAP's
// literals cannot (RFC 3501 section 9).
func withNUL(token ledger.Token) bool { return strings.HasSuffix(string(token), "0") }

// deliverable is content as LMTP sends it.
func deliverable(token ledger.Token) []byte {
	c := content(token)
	if withNUL(token) {
		c = append(c, "a\x00b\x00\r\n"...)
	}
	return c
}

// canonical is the stored form by its definition: bare LF becomes CRLF, NUL becomes
// 0x80, nothing else changes.
func canonical(in []byte) []byte {
	out := make([]byte, 0, len(in)+64)
	for i, c := range in {
		switch {
		case c == '\n' && (i == 0 || in[i-1] != '\r'):
			out = append(out, '\r', '\n')
		case c == 0:
			out = append(out, 0x80)
		default:
			out = append(out, c)
		}
	}
	return out
}

// damage says how stored differs from canonical(sent) with header lines before it.
func damage(stored, sent []byte) string {
	want := canonical(sent)
	if !bytes.HasSuffix(stored, want) {
		return fmt.Sprintf("%d octets stored do not end with the %d sent: %s", len(stored), len(want), firstDifference(stored, want))
	}
	prefix := stored[:len(stored)-len(want)]
	if len(prefix) > 0 && (!bytes.HasSuffix(prefix, []byte("\r\n")) || bytes.Contains(prefix, []byte("\r\n\r\n"))) {
		return fmt.Sprintf("what is before the octets sent is no header: %q", prefix)
	}
	return ""
}

func firstDifference(stored, want []byte) string {
	for i := range min(len(stored), len(want)) {
		if a, b := stored[len(stored)-1-i], want[len(want)-1-i]; a != b {
			return fmt.Sprintf("%d octets before the end is %q, not %q", i, a, b)
		}
	}
	return "it is shorter"
}

// tokenOf finds the token in a message or its header fields. Mail of others is
// named by its Message-ID.
func tokenOf(header []byte) ledger.Token {
	if t, ok := field(header, tokenField); ok {
		return ledger.Token(t)
	}
	id, _ := field(header, "Message-ID: ")
	return ledger.Token("other " + id)
}

func field(header []byte, name string) (string, bool) {
	head, _, _ := bytes.Cut(header, []byte("\r\n\r\n"))
	for line := range strings.SplitSeq(string(head), "\r\n") {
		if len(line) >= len(name) && strings.EqualFold(line[:len(name)], name) {
			return line[len(name):], true
		}
	}
	return "", false
}

func isOther(t ledger.Token) bool { return strings.HasPrefix(string(t), "other ") }
