package imaptest

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// Kind is what a step of a dialogue does.
type Kind int

const (
	// Sends is a command, or what follows a "+", with its literals.
	Sends Kind = iota
	// Expects is one line.
	Expects
	// Notes is a line "#:", for those who play a dialogue with another server.
	Notes
)

// Step is what happens next in a dialogue.
type Step struct {
	Kind    Kind
	Line    int    // of the file, from 1
	Session string // whose it is; "" is the first
	Text    string // a pattern, or the note

	parts []string // of Sends: text and literals in turn
}

// Octets are what a step of Sends sends.
func (s Step) Octets(n Names) string {
	var b strings.Builder
	for i, part := range s.parts {
		part = n.Fill(part)
		if i%2 == 1 {
			part = fmt.Sprintf("{%d+}\r\n%s", len(part), part)
		}
		b.WriteString(part)
	}
	return b.String() + "\r\n"
}

// Read reads the dialogue in a file.
func Read(file string) ([]Step, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r reader
	for i, line := range strings.Split(string(text), "\n") {
		if err := r.read(i+1, line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
		}
	}
	if r.open {
		return nil, fmt.Errorf("%s: a literal must be followed by a C line", file)
	}
	return r.steps, nil
}

// reader makes steps of lines.
type reader struct {
	steps []Step
	open  bool // the last step waits for a literal, and what follows it
}

func (r *reader) read(n int, line string) error {
	if note, ok := strings.CutPrefix(line, "#:"); ok {
		r.steps = append(r.steps, Step{Kind: Notes, Line: n, Text: strings.TrimSpace(note)})
		return nil
	}
	if line == "" || line[0] == '#' {
		return nil
	}
	head, rest, ok := strings.Cut(line, ":")
	if !ok || head == "" || strings.Trim(head[1:], "0123456789") != "" {
		return fmt.Errorf("not a line of a dialogue: %s", line)
	}
	session, rest := head[1:], unescape(strings.TrimPrefix(rest, " "))
	switch {
	case head[0] == 'C':
		return r.command(Step{Kind: Sends, Line: n, Session: session}, rest)
	case head == "L" && r.open:
		parts := r.steps[len(r.steps)-1].parts
		parts[len(parts)-1] += rest + "\r\n"
		return nil
	case head[0] == 'S' && !r.open:
		r.steps = append(r.steps, Step{Kind: Expects, Line: n, Session: session, Text: rest})
		return nil
	case r.open:
		return fmt.Errorf("a literal must be followed by a C line")
	}
	return fmt.Errorf("not a line of a dialogue: %s", line)
}

func (r *reader) command(s Step, text string) error {
	if !r.open {
		r.steps = append(r.steps, s)
	}
	last := &r.steps[len(r.steps)-1]
	if last.Session != s.Session {
		return fmt.Errorf("the literal belongs to C%s", last.Session)
	}
	text, r.open = strings.CutSuffix(text, "{}")
	last.parts = append(last.parts, text)
	if r.open {
		last.parts = append(last.parts, "")
	}
	return nil
}

var (
	escape = regexp.MustCompile(`\\x[0-9a-f]{2}`)
	hole   = regexp.MustCompile(`<(\*|#|[a-z]+)>`)
)

// unescape undoes "\xHH".
func unescape(s string) string {
	return escape.ReplaceAllStringFunc(s, func(x string) string {
		n, _ := strconv.ParseUint(x[2:], 16, 8)
		return string([]byte{byte(n)})
	})
}

// Names are what "<name>" stood for, by name.
type Names map[string]string

// Fill puts known names in.
func (n Names) Fill(s string) string {
	return hole.ReplaceAllStringFunc(s, func(x string) string {
		if v, ok := n[x[1:len(x)-1]]; ok {
			return v
		}
		return x
	})
}

// Match compares text with a pattern and remembers what its names were.
func (n Names) Match(pattern, text string) bool {
	pattern = n.Fill(pattern)
	var re strings.Builder
	var names []string
	end := 0
	re.WriteString(`(?s)^`)
	for _, at := range hole.FindAllStringSubmatchIndex(pattern, -1) {
		re.WriteString(quote(pattern[end:at[0]]))
		end = at[1]
		switch name := pattern[at[2]:at[3]]; name {
		case "*":
			re.WriteString(`.*`)
		case "#":
			re.WriteString(`[0-9]+`)
		default:
			names = append(names, name)
			re.WriteString(`([A-Za-z0-9_-]+)`)
		}
	}
	re.WriteString(quote(pattern[end:]) + `$`)
	m := regexp.MustCompile(re.String()).FindStringSubmatch(latin1(text))
	if m == nil {
		return false
	}
	for i, name := range names {
		n[name] = m[i+1]
	}
	return true
}

func quote(s string) string { return regexp.QuoteMeta(latin1(s)) }

// latin1 makes valid UTF-8 of any octets, for package regexp.
func latin1(s string) string {
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r)
}
