package router

import (
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// dateForm is that of RFC 5322 section 3.3.
const dateForm = time.RFC1123Z

// prefixer makes the header lines that are added for each recipient of a message
// (RFC 5321 section 4.4): Return-Path, Delivered-To, Received. They name only that
// recipient: the others are nobody's business. The received octets follow
// unaltered.
type prefixer struct {
	t     *transaction
	date  string
	trace string // the Received line up to its "for", the same for all
}

// prefix makes the lines for the address as given, which led to user.
func (p *prefixer) prefix(address, user string) []byte {
	if p.trace == "" {
		p.trace = p.traceLine()
	}
	b := make([]byte, 0, len(p.trace)+len(p.t.from)+len(user)+len(address)+len(p.date)+80)
	b = append(b, "Return-Path: <"...)
	b = append(b, path(p.t.from)...)
	b = append(b, ">\r\nDelivered-To: "...)
	b = append(b, path(user)...)
	b = append(b, "\r\n"...)
	b = append(b, p.trace...)
	b = append(b, "\r\n\tfor <"...)
	b = append(b, path(address)...)
	b = append(b, ">; "...)
	b = append(b, p.date...)
	return append(b, "\r\n"...)
}

func (p *prefixer) traceLine() string {
	t := p.t
	var b strings.Builder
	b.WriteString("Received: from " + domain(t.params.Helo) + tcpInfo(t.remote))
	b.WriteString("\r\n\tby " + domain(string(t.router.cfg.Machine)) + " (Tandemail) with " + protocol(t.params.UTF8, t.params.TLS != nil))
	b.WriteString(" id " + t.id.String())
	if q := comment(t.params.Forward.Ident); q != "" {
		b.WriteString("\r\n\t(queue " + q + ")")
	}
	return b.String()
}

// protocol is the registered word (RFC 3848, RFC 6531 section 4.3).
func protocol(utf8, tls bool) string {
	w := "LMTP"
	if utf8 {
		w = "UTF8LMTP"
	}
	if tls {
		w += "S"
	}
	return w
}

// tcpInfo is the peer as an address literal (RFC 5321 section 4.1.3), or nothing
// when it came over no network.
func tcpInfo(remote string) string {
	ip, err := netip.ParseAddr(remote)
	if err != nil {
		return ""
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return " ([" + ip.String() + "])"
	}
	return " ([IPv6:" + ip.String() + "])"
}

// maxToken bounds what is taken over from a peer into one line, far below the 998
// octets that a line may have.
const maxToken = 255

// domain keeps what a peer calls itself to the octets of a domain or an address
// literal.
func domain(s string) string {
	return or(mapped(s, func(r rune) bool {
		return r > ' ' && r != 0x7f && !strings.ContainsRune(`()<>,;"\@`, r)
	}), "unknown")
}

// comment keeps s inside a comment.
func comment(s string) string {
	return mapped(s, func(r rune) bool { return r >= ' ' && r != 0x7f && !strings.ContainsRune(`()\`, r) })
}

// path is an address between angle brackets. lmtpd lets only clean ones through,
// where every odd octet is quoted; a directory's name is taken as carefully.
func path(s string) string {
	return mappedTo(s, 900, func(r rune) bool { return r >= ' ' && r != 0x7f })
}

func mapped(s string, good func(rune) bool) string { return mappedTo(s, maxToken, good) }

// mappedTo puts '?' in the place of what is not good, and cuts at most octets.
func mappedTo(s string, most int, good func(rune) bool) string {
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	bad := func(r rune) bool { return r == utf8.RuneError || !good(r) }
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

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
