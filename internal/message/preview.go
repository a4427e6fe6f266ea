package message

import (
	"cmp"
	"fmt"
	"html"
	"io"
	"strings"
	"unicode"
)

// PreviewVersion names the rules of [Preview]; it rises when they change.
const PreviewVersion = 1

const (
	maxPreview     = 200      // characters (RFC 8970 4: no more than 256)
	maxPreviewText = 32 << 10 // octets of a part that are looked at
)

// Preview is the beginning of what a message says, as one line of plain text
// (RFC 8970): of its first part that is plain text, or HTML if it has none, and that
// is not attached. Empty if there is no such part.
func Preview(r io.ReaderAt, root *Part) (string, error) {
	var plain, rich *Part
	root.walkShown(func(p *Part) {
		switch {
		case p.Type != "text":
		case p.Subtype == "html":
			rich = cmp.Or(rich, p)
		case p.Subtype == "plain":
			plain = cmp.Or(plain, p)
		}
	})
	part := cmp.Or(plain, rich)
	if part == nil {
		return "", nil
	}
	b, err := io.ReadAll(io.LimitReader(decodedText(r, part), maxPreviewText))
	if err != nil {
		return "", fmt.Errorf("read part at %d: %w", part.Body.Start, err)
	}
	text := string(appendLenient(nil, b))
	if part == rich {
		text = html.UnescapeString(withoutTags(text))
	}
	return oneLine(text, maxPreview), nil
}

// walkShown visits the parts that a reader of the message sees at once.
func (p *Part) walkShown(visit func(*Part)) {
	if d := p.Disposition; d != nil && equalFold(d.Type, "attachment") {
		return
	}
	if p.IsMultipart() {
		for _, c := range p.Children {
			c.walkShown(visit)
		}
		return
	}
	visit(p)
}

// oneLine is text with each run of white space as one space, up to n characters,
// without those that show nothing.
func oneLine(text string, n int) string {
	var b strings.Builder
	space := false
	for _, c := range text {
		switch {
		case unicode.IsSpace(c):
			space = b.Len() > 0
			continue
		case unicode.IsControl(c), unicode.Is(unicode.Cf, c), c == unicode.ReplacementChar:
			continue
		}
		if space {
			if n--; n <= 0 {
				break
			}
			b.WriteByte(' ')
			space = false
		}
		if n--; n < 0 {
			break
		}
		b.WriteRune(c)
	}
	return b.String()
}

// hidden are the elements whose content is not shown.
var hidden = []string{"head", "script", "style", "title"}

// withoutTags is the text of HTML, as far as a preview needs it: a tag is white space.
func withoutTags(s string) string {
	var b strings.Builder
	for {
		text, rest, tag := strings.Cut(s, "<")
		b.WriteString(text)
		if !tag {
			return b.String()
		}
		b.WriteByte(' ')
		if comment, ok := strings.CutPrefix(rest, "!--"); ok {
			_, s, _ = strings.Cut(comment, "-->")
			continue
		}
		inside, after, _ := strings.Cut(rest, ">")
		s = after
		for _, name := range hidden {
			if len(inside) >= len(name) && equalFold(inside[:len(name)], name) && !isNameChar(inside, len(name)) {
				s = behind(s, "</"+name)
			}
		}
	}
}

func isNameChar(s string, i int) bool {
	return i < len(s) && (unicode.IsLetter(rune(s[i])) || s[i] == '-')
}

// behind is s from the first end in any case on, "" if there is none.
func behind(s, end string) string {
	for i := 0; i+len(end) <= len(s); i++ {
		if equalFold(s[i:i+len(end)], end) {
			return s[i:]
		}
	}
	return ""
}
