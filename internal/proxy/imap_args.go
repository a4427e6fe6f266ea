package proxy

import (
	"bytes"

	"github.com/tandemail/tandemail/internal/imapwire"
)

// astrings reads the arguments of a command that has exactly n strings or atoms.
// Only LOGIN has such and is not the master's to read.
func astrings(raw imapwire.Raw, name string, n int) ([]string, bool) {
	_, rest, _ := bytes.Cut(raw.Text, []byte{' '})
	if len(rest) < len(name) {
		return nil, false
	}
	rest = rest[len(name):]
	literals := raw.Literals
	var args []string
	for range n {
		var ok bool
		if rest, ok = bytes.CutPrefix(rest, []byte{' '}); !ok || len(rest) == 0 {
			return nil, false
		}
		var arg string
		switch {
		case rest[0] == '"':
			arg, rest, ok = quoted(rest)
		case rest[0] == '{':
			arg, rest, literals, ok = literal(rest, literals)
		default:
			arg, rest, ok = atom(rest)
		}
		if !ok {
			return nil, false
		}
		args = append(args, arg)
	}
	return args, len(bytes.TrimRight(rest, " ")) == 0 && len(literals) == 0
}

// quoted takes a quoted string. Octets above 127 are tolerated: passwords have them.
func quoted(b []byte) (s string, rest []byte, ok bool) {
	var out []byte
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			return string(out), b[i+1:], true
		case '\\':
			if i++; i == len(b) || b[i] != '"' && b[i] != '\\' {
				return "", nil, false
			}
			out = append(out, b[i])
		case 0, '\r', '\n':
			return "", nil, false
		default:
			out = append(out, b[i])
		}
	}
	return "", nil, false
}

// literal takes the literal whose announcement comes next.
func literal(b []byte, literals []imapwire.Literal) (s string, rest []byte, left []imapwire.Literal, ok bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 || len(literals) == 0 || bytes.IndexByte(b, '}') != len(bytes.TrimRight(b[:i], "\r"))-1 {
		return "", nil, nil, false
	}
	data := literals[0].Data
	return string(data), b[i+1:], literals[1:], bytes.IndexByte(data, 0) < 0
}

// atom takes octets up to a space. It is as lenient as passwords typed by hand need.
func atom(b []byte) (s string, rest []byte, ok bool) {
	i := 0
	for i < len(b) && b[i] > ' ' && b[i] != 0x7f && b[i] != '"' && b[i] != '{' && b[i] != '(' && b[i] != ')' {
		i++
	}
	return string(b[:i]), b[i:], i > 0
}
