package router

import (
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/directory"
)

// prefix is the header lines added for one recipient. It names only that one: the
// others are nobody's business. The received octets follow it unaltered.
func (t *transaction) prefix(address string, u directory.Recipient) []byte {
	var b strings.Builder
	b.Grow(320)
	b.WriteString("Return-Path: <" + clean(t.from) + ">\r\n")
	name := u.User.Name
	b.WriteString("Delivered-To: " + clean(name) + "\r\n")
	b.WriteString("Received: from " + orUnknown(clean(t.params.Helo)) + " ([" + clean(t.remote) + "])\r\n\tby " +
		string(t.router.cfg.Machine) + " (Tandemail) with LMTP id " + t.transaction.String())
	if q := t.params.Forward.Ident; q != "" {
		b.WriteString(" (queue " + clean(q) + ")")
	}
	b.WriteString("\r\n\tfor <" + clean(address) + ">; " + t.router.cfg.Now().Format(time.RFC1123Z) + "\r\n")
	return []byte(b.String())
}

// clean keeps what a peer gave from ending a header line or a comment.
func clean(s string) string {
	const most = 512
	if len(s) > most {
		s = s[:most]
	}
	bad := func(r rune) bool { return r < ' ' || r == 0x7f || r == '<' || r == '>' || r == '(' || r == ')' }
	if strings.IndexFunc(s, bad) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if bad(r) {
			return '?'
		}
		return r
	}, s)
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
