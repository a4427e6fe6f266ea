package peers

import (
	"strconv"
	"strings"
)

// node is a word, a string or a list of a response, or of the pattern of one: there
// "<*>" is a word that stands for all that follows in its list.
type node struct {
	text   string
	quoted bool // or a literal
	list   bool
	items  []node
}

const rest = "<*>"

// parse reads the nodes of a response, whose literals stand in it. A pattern may end
// early.
func parse(text string) []node {
	p := parser{text}
	return p.list()
}

type parser struct{ rest string }

func (p *parser) list() (items []node) {
	for p.rest != "" {
		switch p.rest[0] {
		case ' ', '\r', '\n':
			p.rest = p.rest[1:]
		case ')':
			p.rest = p.rest[1:]
			return items
		case '(':
			p.rest = p.rest[1:]
			items = append(items, node{list: true, items: p.list()})
		case '"':
			items = append(items, p.quoted())
		default:
			items = append(items, p.word())
		}
	}
	return items
}

func (p *parser) quoted() node {
	var b strings.Builder
	i := 1
	for ; i < len(p.rest) && p.rest[i] != '"'; i++ {
		if p.rest[i] == '\\' && i+1 < len(p.rest) {
			i++
		}
		b.WriteByte(p.rest[i])
	}
	p.rest = p.rest[min(i+1, len(p.rest)):]
	return node{text: b.String(), quoted: true}
}

// word reads an atom with what stands in its brackets, or a literal.
func (p *parser) word() node {
	if strings.HasPrefix(p.rest, rest) {
		p.rest = p.rest[len(rest):]
		return node{text: rest}
	}
	i, depth := 0, 0
	for ; i < len(p.rest); i++ {
		c := p.rest[i]
		if depth == 0 && strings.IndexByte(" ()\r\n", c) >= 0 || strings.HasPrefix(p.rest[i:], rest) {
			break
		}
		switch c {
		case '[':
			depth++
		case ']':
			depth--
		}
	}
	word := p.rest[:i]
	p.rest = p.rest[i:]
	if size, ok := strings.CutSuffix(strings.TrimPrefix(word, "~"), "}"); ok && strings.HasPrefix(size, "{") {
		if n, err := strconv.Atoi(size[1:]); err == nil && strings.HasPrefix(p.rest, "\r\n") && len(p.rest) >= n+2 {
			text := p.rest[2 : n+2]
			p.rest = p.rest[n+2:]
			return node{text: text, quoted: true}
		}
	}
	return node{text: word}
}

// nilWord says whether a node is NIL.
func (n node) nilWord() bool { return !n.list && !n.quoted && strings.EqualFold(n.text, "NIL") }
