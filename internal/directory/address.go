package directory

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Policy says how addresses compare.
type Policy struct {
	// CaseSensitive local parts; domains never are.
	CaseSensitive bool
	// Detail holds the characters that may separate user and detail, e.g. "+-";
	// "" means "+", "none" means that there are no sub-addresses (RFC 5233).
	Detail string
}

// maxAddress bounds an address in octets: local part, "@", domain (RFC 5321
// 4.5.3.1, RFC 6531 3.1).
const maxAddress = 64 + 1 + 255

// Address is a parsed address, or a bare user name, in the form that compares.
type Address struct {
	// Full is the whole address, canonical: the key that users and aliases have.
	Full string
	// Base is Full without the detail; "" if there is none.
	Base string
	// Detail as written, in NFC: it names a mailbox, whose case matters.
	Detail string
	// Domain in lower-case A-label form; "" for a bare name.
	Domain string
}

// Parse makes an address canonical: the domain in lower-case A-labels (RFC 5890),
// the local part in NFC, unquoted, and in lower case unless the policy says
// otherwise. ErrBadAddress if it can be nobody's.
func (p Policy) Parse(s string) (Address, error) {
	bad := func(why string) (Address, error) {
		return Address{}, fmt.Errorf("%w: %.*q %s", ErrBadAddress, maxAddress, s, why)
	}
	if s == "" || len(s) > maxAddress || !utf8.ValidString(s) {
		return bad("is empty, too long or not UTF-8")
	}
	local, domain := s, ""
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		local, domain = s[:at], s[at+1:]
		ascii, err := canonicalDomain(domain)
		if err != nil {
			return bad("has no valid domain")
		}
		domain = ascii
	}
	local = norm.NFC.String(unquote(local))
	if local == "" || strings.ContainsFunc(local, unicode.IsControl) {
		return bad("has no valid local part")
	}
	a := Address{Full: p.join(local, domain), Domain: domain}
	if i := strings.IndexAny(local, p.separators()); i > 0 {
		a.Base, a.Detail = p.join(local[:i], domain), local[i+1:]
	}
	return a, nil
}

func (p Policy) separators() string {
	switch p.Detail {
	case "":
		return "+"
	case "none":
		return ""
	}
	return p.Detail
}

func (p Policy) join(local, domain string) string {
	if !p.CaseSensitive {
		local = norm.NFC.String(strings.ToLower(local))
	}
	if domain == "" {
		return local
	}
	return local + "@" + domain
}

// canonicalDomain takes A-labels and U-labels, and address literals as they are.
func canonicalDomain(d string) (string, error) {
	if strings.HasPrefix(d, "[") && strings.HasSuffix(d, "]") {
		return strings.ToLower(d), nil
	}
	ascii, err := idna.Lookup.ToASCII(strings.TrimSuffix(d, "."))
	if err == nil && (ascii == "" || strings.ContainsAny(ascii, " /")) {
		err = fmt.Errorf("domain %q is empty or has a forbidden character", d)
	}
	return ascii, err
}

// unquote removes the quoting that the local part does not need to be compared
// (RFC 5321 4.1.2): "a b" and a\ b are the same.
func unquote(local string) string {
	if len(local) < 2 || local[0] != '"' || local[len(local)-1] != '"' {
		return local
	}
	var b strings.Builder
	for i := 1; i < len(local)-1; i++ {
		if local[i] == '\\' && i < len(local)-2 {
			i++
		}
		b.WriteByte(local[i])
	}
	return b.String()
}
