package imaptest

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// UserOf is the user whose a dialogue's session is: of "9" info, which is no
// person, of "5" and above bob, else ann.
func UserOf(session string) string {
	switch {
	case session >= "9":
		return "info"
	case session >= "5":
		return "bob"
	}
	return "ann"
}

// Run plays the dialogue in a file. dial opens each of its sessions, "" the first,
// "2" and so on, already greeted and authenticated: see [UserOf].
func Run(t *testing.T, file string, dial func(name string) net.Conn) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := &dialogue{t: t, file: file, dial: dial, clients: map[string]*Client{}, names: map[string]string{}}
	defer d.close()
	for i, line := range strings.Split(string(text), "\n") {
		d.line = i + 1
		d.play(line)
	}
	d.send()
}

type dialogue struct {
	t       *testing.T
	file    string
	line    int
	dial    func(string) net.Conn
	clients map[string]*Client
	names   map[string]string // what "<name>" was

	pending string // octets of a command whose literal is being read
	literal string
	to      string // the session they are for
	open    bool
}

func (d *dialogue) close() {
	for _, c := range d.clients {
		_ = c.Close()
	}
}

func (d *dialogue) fail(format string, args ...any) {
	d.t.Helper()
	d.t.Fatalf("%s:%d: %s", d.file, d.line, fmt.Sprintf(format, args...))
}

func (d *dialogue) client(name string) *Client {
	c := d.clients[name]
	if c == nil {
		c = NewClient(d.t, d.dial(name))
		d.clients[name] = c
	}
	return c
}

func (d *dialogue) play(line string) {
	d.t.Helper()
	head, rest, ok := strings.Cut(line, ":")
	if line == "" || line[0] == '#' {
		return
	}
	if !ok || head == "" || strings.Trim(head[1:], "0123456789") != "" {
		d.fail("not a line of a dialogue: %s", line)
	}
	rest = d.octets(strings.TrimPrefix(rest, " "))
	switch head[0] {
	case 'C':
		d.command(head[1:], rest)
	case 'L':
		d.literal += rest + "\r\n"
	case 'S':
		d.send()
		got, err := d.client(head[1:]).receive()
		if err != nil {
			d.fail("\n got %s%v\nwant %s", got, err, rest)
		}
		if !d.match(rest, got) {
			d.fail("\n got %s\nwant %s", got, rest)
		}
	default:
		d.fail("not a line of a dialogue: %s", line)
	}
}

// command adds to what is sent before the next line is expected.
func (d *dialogue) command(to, text string) {
	d.t.Helper()
	if d.open {
		if to != d.to {
			d.fail("the literal belongs to C%s", d.to)
		}
		d.pending += fmt.Sprintf("{%d+}\r\n%s", len(d.literal), d.literal)
		d.open, d.literal = false, ""
	} else {
		d.send()
	}
	d.to = to
	if head, ok := strings.CutSuffix(text, "{}"); ok {
		d.pending += head
		d.open = true
		return
	}
	d.pending += text + "\r\n"
}

func (d *dialogue) send() {
	d.t.Helper()
	if d.open {
		d.fail("a literal must be followed by a C line")
	}
	if d.pending != "" {
		d.client(d.to).Send(d.pending)
		d.pending = ""
	}
}

var (
	escape = regexp.MustCompile(`\\x[0-9a-f]{2}`)
	hole   = regexp.MustCompile(`<(\*|#|[a-z]+)>`)
)

// octets undoes "\xHH" and puts known names in.
func (d *dialogue) octets(s string) string {
	s = escape.ReplaceAllStringFunc(s, func(x string) string {
		n, _ := strconv.ParseUint(x[2:], 16, 8)
		return string([]byte{byte(n)})
	})
	return hole.ReplaceAllStringFunc(s, func(x string) string {
		if v, ok := d.names[x[1:len(x)-1]]; ok {
			return v
		}
		return x
	})
}

// match compares a line with a pattern and remembers what its names were.
func (d *dialogue) match(pattern, line string) bool {
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
			re.WriteString(`([A-Za-z0-9]+)`)
		}
	}
	re.WriteString(quote(pattern[end:]) + `$`)
	m := regexp.MustCompile(re.String()).FindStringSubmatch(latin1(line))
	if m == nil {
		return false
	}
	for i, name := range names {
		d.names[name] = m[i+1]
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
