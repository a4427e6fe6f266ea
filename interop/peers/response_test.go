package peers

import (
	"strconv"
	"strings"
)

// response is one response, or the pattern of one.
type response struct {
	text   string
	number int    // of "* 3 FETCH", or 0
	kind   string // in upper case: FETCH, LIST, or OK, NO, BAD, BYE
	code   string // of OK, NO, BAD and BYE, in upper case: APPENDUID
	args   []node // what follows the kind, or the code in its brackets
}

// parseResponse reads what follows "* " or the tag.
func parseResponse(text string) response {
	r := response{text: text}
	word, after, _ := strings.Cut(text, " ")
	if n, err := strconv.Atoi(word); err == nil || word == "<#>" {
		r.number = n
		word, after, _ = strings.Cut(after, " ")
	}
	r.kind = strings.ToUpper(word)
	switch r.kind {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		inside, ok := strings.CutPrefix(after, "[")
		if !ok {
			return r
		}
		if i := strings.LastIndexByte(inside, ']'); i >= 0 {
			inside = inside[:i]
		}
		r.code, after, _ = strings.Cut(inside, " ")
		r.code = strings.ToUpper(strings.TrimSuffix(r.code, rest))
	}
	r.args = parse(after)
	return r
}

// pairs are the arguments as keys and values.
func pairs(args []node) (keys []string, values map[string]node) {
	values = map[string]node{}
	for i := 0; i+1 < len(args); i += 2 {
		k := strings.ToUpper(strings.ReplaceAll(args[i].text, `"`, ""))
		if _, ok := values[k]; !ok {
			keys = append(keys, k)
		}
		values[k] = args[i+1]
	}
	if n := len(args); n%2 == 1 && args[n-1].text == rest {
		keys = append(keys, rest)
		values[rest] = args[n-1]
	}
	return keys, values
}

// numbers are those of a set, in its order.
func numbers(set string) (out []int) {
	for part := range strings.SplitSeq(set, ",") {
		lo, hi, pair := strings.Cut(part, ":")
		if !pair {
			hi = lo
		}
		first, err := strconv.Atoi(lo)
		last, err2 := strconv.Atoi(hi)
		if err != nil || err2 != nil || last-first > 1000 || first-last > 1000 {
			return nil
		}
		for ; first < last; first++ {
			out = append(out, first)
		}
		for ; first > last; first-- {
			out = append(out, first)
		}
		out = append(out, last)
	}
	return out
}
