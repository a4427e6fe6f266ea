package message

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// piece is one parameter of a continuation: base*index or base*index*.
type piece struct {
	base     string
	index    int
	extended bool
	value    string
	at       int // position among the parameters
}

// joinContinuations joins the pieces of RFC 2231 3. If one of them is extended
// the result is too: its name ends with "*" and all of it is percent-encoded.
// Pieces without a first one stay as they are.
func joinContinuations(params []Param) []Param {
	var pieces []piece
	for i, p := range params {
		if c, ok := parsePiece(p); ok {
			c.at = i
			pieces = append(pieces, c)
		}
	}
	if len(pieces) == 0 {
		return params
	}
	slices.SortStableFunc(pieces, func(a, b piece) int {
		return cmp.Or(strings.Compare(a.base, b.base), cmp.Compare(a.index, b.index))
	})
	used := make([]bool, len(params))
	for len(pieces) > 0 {
		n := run(pieces)
		if n > 0 {
			at := pieces[0].at
			for _, c := range pieces[:n] {
				used[c.at] = true
			}
			params[at] = join(pieces[:n])
			used[at] = false
		}
		pieces = pieces[max(n, 1):]
	}
	out := params[:0]
	for i, p := range params {
		if !used[i] {
			out = append(out, p)
		}
	}
	return out
}

func parsePiece(p Param) (piece, bool) {
	base, rest, ok := strings.Cut(p.Name, "*")
	if !ok || base == "" || rest == "" {
		return piece{}, false
	}
	digits, extended := strings.CutSuffix(rest, "*")
	if len(digits) > 4 || digits == "" || digits[0] == '+' || digits[0] == '-' {
		return piece{}, false
	}
	n, err := strconv.Atoi(digits)
	return piece{base: base, index: n, extended: extended, value: p.Value}, err == nil
}

// run counts the pieces from the first on that follow one another from 0.
func run(pieces []piece) int {
	n := 0
	for n < len(pieces) && pieces[n].base == pieces[0].base && pieces[n].index == n {
		n++
	}
	return n
}

func join(pieces []piece) Param {
	extended := slices.ContainsFunc(pieces, func(c piece) bool { return c.extended })
	var b []byte
	if extended && !pieces[0].extended {
		b = append(b, "''"...) // charset and language unknown
	}
	for _, c := range pieces {
		if extended && !c.extended {
			b = appendPercent(b, c.value)
		} else {
			b = append(b, c.value...)
		}
	}
	if extended {
		return Param{pieces[0].base + "*", string(b)}
	}
	return Param{pieces[0].base, string(b)}
}

// appendPercent encodes what RFC 2231 7 does not call an attribute-char.
func appendPercent(dst []byte, v string) []byte {
	for i := range len(v) {
		c := v[i]
		if c < 0x80 && isToken(c) && c != '*' && c != '\'' && c != '%' {
			dst = append(dst, c)
			continue
		}
		const hex = "0123456789ABCDEF"
		dst = append(dst, '%', hex[c>>4], hex[c&15])
	}
	return dst
}
