package auth

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxSCRAM bounds a message of SCRAM in octets, nonces and names together.
const maxSCRAM = 4096

// gs2 is the header that says how the client binds the exchange to its channel, and
// as whom it wants to act (RFC 5801 4).
type gs2 struct {
	flag    byte   // 'n': it cannot bind; 'y': it can and thinks that we cannot; 'p': it does
	binding string // the name, with 'p'
	authzid string // "" is none
	octets  []byte // of the header, with its last comma
}

// parseGS2 returns the header, and what follows it.
func parseGS2(message []byte) (h gs2, rest []byte, err error) {
	bad := func(why string) (gs2, []byte, error) {
		return gs2{}, nil, fmt.Errorf("GS2 header: %s: %w", why, ErrSyntax)
	}
	flag, rest, ok1 := bytes.Cut(message, []byte{','})
	authzid, rest, ok2 := bytes.Cut(rest, []byte{','})
	if !ok1 || !ok2 || len(flag) == 0 {
		return bad("form")
	}
	h.flag, h.octets = flag[0], message[:len(message)-len(rest)]
	name, bound := bytes.CutPrefix(flag, []byte("p="))
	switch {
	case bound && len(name) > 0:
		h.binding = string(name)
	case string(flag) == "n", string(flag) == "y":
	default:
		return bad("flag")
	}
	if len(authzid) > 0 {
		name, ok := bytes.CutPrefix(authzid, []byte("a="))
		if !ok {
			return bad("authorisation identity")
		}
		if h.authzid, ok = saslName(name); !ok {
			return bad("authorisation identity")
		}
	}
	return h, rest, nil
}

// saslName undoes the escapes of RFC 5802 5.1.
func saslName(b []byte) (string, bool) {
	s := string(b)
	if s == "" || len(s) > maxPassword || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00,") {
		return "", false
	}
	var out strings.Builder
	for {
		before, after, escaped := strings.Cut(s, "=")
		out.WriteString(before)
		if !escaped {
			return out.String(), true
		}
		switch {
		case strings.HasPrefix(after, "2C"):
			out.WriteByte(',')
		case strings.HasPrefix(after, "3D"):
			out.WriteByte('=')
		default:
			return "", false
		}
		s = after[2:]
	}
}

// clientFirst is the client's first message (RFC 5802 7).
type clientFirst struct {
	gs2
	user, nonce string
	bare        []byte // without the header
}

func parseClientFirst(message []byte) (clientFirst, error) {
	bad := func(why string) (clientFirst, error) {
		return clientFirst{}, fmt.Errorf("SCRAM: first message: %s: %w", why, ErrSyntax)
	}
	if len(message) > maxSCRAM {
		return bad("length")
	}
	h, bare, err := parseGS2(message)
	if err != nil {
		return clientFirst{}, err
	}
	m := clientFirst{gs2: h, bare: bare}
	name, rest, ok := bytes.Cut(bare, []byte{','})
	if name, ok1 := bytes.CutPrefix(name, []byte("n=")); !ok || !ok1 { // "m=" is an extension that we do not know
		return bad("user name")
	} else if m.user, ok = saslName(name); !ok {
		return bad("user name")
	}
	nonce, _, _ := bytes.Cut(rest, []byte{','}) // extensions follow
	nonce, ok = bytes.CutPrefix(nonce, []byte("r="))
	if !ok || !printable(nonce) {
		return bad("nonce")
	}
	m.nonce = string(nonce)
	return m, nil
}

// printable reports whether b is the nonce of RFC 5802 7: no comma is left in it.
func printable(b []byte) bool {
	for _, c := range b {
		if c < 0x21 || c > 0x7e || c == ',' {
			return false
		}
	}
	return len(b) > 0
}

// clientFinal is the client's second message (RFC 5802 7).
type clientFinal struct {
	channel      []byte // GS2 header and channel binding
	nonce        string
	proof        []byte
	withoutProof []byte
}

func parseClientFinal(message []byte) (clientFinal, error) {
	bad := func(why string) (clientFinal, error) {
		return clientFinal{}, fmt.Errorf("SCRAM: final message: %s: %w", why, ErrSyntax)
	}
	if len(message) > maxSCRAM {
		return bad("length")
	}
	at := bytes.LastIndex(message, []byte(",p="))
	if at < 0 {
		return bad("proof")
	}
	m := clientFinal{withoutProof: message[:at]}
	var err error
	if m.proof, err = base64.StdEncoding.Strict().DecodeString(string(message[at+3:])); err != nil {
		return bad("proof")
	}
	channel, rest, _ := bytes.Cut(m.withoutProof, []byte{','})
	channel, ok := bytes.CutPrefix(channel, []byte("c="))
	if !ok {
		return bad("channel binding")
	}
	if m.channel, err = base64.StdEncoding.Strict().DecodeString(string(channel)); err != nil {
		return bad("channel binding")
	}
	nonce, _, _ := bytes.Cut(rest, []byte{','}) // extensions follow
	nonce, ok = bytes.CutPrefix(nonce, []byte("r="))
	if !ok || !printable(nonce) {
		return bad("nonce")
	}
	m.nonce = string(nonce)
	return m, nil
}
