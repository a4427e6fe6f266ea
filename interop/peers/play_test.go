package peers

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/imapwire/imaptest"
)

// player plays one dialogue with one server.
type player struct {
	server    string // its name in notes
	file      string
	dial      func(session string) (*talk, error)
	announced map[string]bool
	report    func(line int, text string) // of a difference
	remark    func(line int, text string) // of a note that is not needed

	names    imaptest.Names
	sessions map[string]*talk
	notes    notes           // of what comes next
	unsent   map[string]bool // tags of commands that were not
	commands int             // that were compared
	excused  int             // of them, with a note that they may differ
	begun    bool
}

// talk is one session of a dialogue.
type talk struct {
	conn    net.Conn
	in      *bufio.Reader
	tag     string // of the command under way, or ""
	command string
	line    int // it is on
	idle    bool
	skipped bool // the command is not sent
	notes   notes
	want    []response
	got     []response
}

// wait is for a command's answer, and for what is told without one.
const wait = 5 * time.Second

// unplayed is why the rest of a dialogue is not played.
type unplayed struct{ why string }

func (u *unplayed) Error() string { return u.why }

func (p *player) play() error {
	steps, err := imaptest.Read(p.file)
	if err != nil {
		return err
	}
	p.names, p.sessions, p.unsent = imaptest.Names{}, map[string]*talk{}, map[string]bool{}
	defer func() {
		for _, t := range p.sessions {
			_ = t.conn.Close()
		}
	}()
	for i := 0; i < len(steps); i++ {
		s := steps[i]
		for s.Kind == imaptest.Expects && i+1 < len(steps) && continues(steps[i+1], s.Session) {
			i++
			s.Text += "\r\n" + steps[i].Text
		}
		if err := p.step(s); err != nil {
			return fmt.Errorf("line %d: %w", s.Line, err)
		}
	}
	return p.settle(nil)
}

// continues says whether a line is one more of the response before it, which has a
// literal.
func continues(s imaptest.Step, session string) bool {
	if s.Kind != imaptest.Expects || s.Session != session || strings.HasPrefix(s.Text, "* ") || strings.HasPrefix(s.Text, "+ ") {
		return false
	}
	tag, after, _ := strings.Cut(s.Text, " ")
	status, _, _ := strings.Cut(after, " ")
	return tag == "" || status != "OK" && status != "NO" && status != "BAD"
}

func (p *player) step(s imaptest.Step) error {
	switch s.Kind {
	case imaptest.Notes:
		n, err := parseNote(s.Text)
		if err != nil {
			return err
		}
		p.notes = append(p.notes, n)
		return p.whole()
	case imaptest.Sends:
		return p.send(s)
	}
	t, err := p.session(s.Session)
	if err != nil {
		return err
	}
	return p.expect(t, s)
}

// whole looks at a note that ends the dialogue, or says what all of it needs.
func (p *player) whole() error {
	if n, ok := p.notes.find("ends", p.server); ok {
		if err := p.settle(nil); err != nil {
			return err
		}
		return &unplayed{n.reason}
	}
	if p.begun {
		return nil
	}
	if cap := p.notes.missing(p.announced); cap != "" {
		return &unplayed{"it does not announce " + cap}
	}
	return nil
}

func (p *player) session(name string) (*talk, error) {
	if t := p.sessions[name]; t != nil {
		return t, nil
	}
	t, err := p.dial(name)
	if err == nil {
		p.sessions[name] = t
	}
	return t, err
}

func (p *player) send(s imaptest.Step) error {
	t, err := p.session(s.Session)
	if err != nil {
		return err
	}
	if err := p.settle(nil); err != nil {
		return err
	}
	octets := s.Octets(p.names)
	if t.tag == "" {
		p.begun = true
		t.begin(s.Line, octets, p.notes)
		p.notes = nil
		_, unsent := t.notes.find("unsent", p.server)
		t.skipped = unsent || t.notes.missing(p.announced) != "" || lacking(octets, p.announced) != ""
	}
	p.unsent[t.tag] = t.skipped
	if t.skipped {
		return nil
	}
	if err := t.conn.SetWriteDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	_, err = t.conn.Write([]byte(octets))
	return err
}

// begin notes a new command. What came since the last one is told in its answer.
func (t *talk) begin(line int, octets string, ns notes) {
	t.command, _, _ = strings.Cut(octets, "\r\n")
	t.tag, _, _ = strings.Cut(t.command, " ")
	t.line, t.notes, t.idle = line, ns, strings.EqualFold(strings.TrimSpace(t.command), t.tag+" IDLE")
}

func (p *player) expect(t *talk, s imaptest.Step) error {
	untagged, plain := strings.CutPrefix(s.Text, "* ")
	switch {
	case plain && (t.tag == "" || t.idle):
		if err := p.settle(t); err != nil {
			return err
		}
		if len(p.notes) > 0 {
			t.notes, p.notes = p.notes, nil
		}
		if len(t.want) == 0 {
			t.line = s.Line
		}
		p.want(t, untagged)
		return nil
	case plain:
		p.want(t, untagged)
		return nil
	case t.skipped && strings.HasPrefix(s.Text, "+"):
		return nil
	case strings.HasPrefix(s.Text, "+"):
		return p.goOn(t)
	}
	if err := p.settle(t); err != nil {
		return err
	}
	tagged, ok := strings.CutPrefix(s.Text, t.tag+" ")
	if !ok {
		return fmt.Errorf("no tag of this session: %s", s.Text)
	}
	return p.finish(t, parseResponse(tagged))
}

// want adds what is to be told, unless it is about a search that was not sent.
func (p *player) want(t *talk, untagged string) {
	r := parseResponse(untagged)
	if r.kind == "ESEARCH" && len(r.args) > 0 && len(r.args[0].items) > 1 && p.unsent[r.args[0].items[1].text] {
		return
	}
	t.want = append(t.want, r)
}

// goOn reads to the "+".
func (p *player) goOn(t *talk) error {
	for {
		text, err := t.read(time.Now().Add(wait))
		if err != nil {
			return err
		}
		if strings.HasPrefix(text, "+") {
			return nil
		}
		untagged, ok := strings.CutPrefix(text, "* ")
		if !ok {
			return fmt.Errorf("want +, got %s", text)
		}
		t.got = append(t.got, parseResponse(untagged))
	}
}

// finish reads to the end of a command and compares all of it.
func (p *player) finish(t *talk, want response) error {
	defer func() { t.want, t.got, t.tag, t.notes, t.idle, t.skipped = nil, nil, "", nil, false, false }()
	if t.skipped {
		return nil
	}
	var got response
	for {
		text, err := t.read(time.Now().Add(wait))
		if err != nil {
			return fmt.Errorf("%s: %w", t.command, err)
		}
		if tagged, ok := strings.CutPrefix(text, t.tag+" "); ok {
			got = parseResponse(tagged)
			break
		}
		untagged, ok := strings.CutPrefix(text, "* ")
		if !ok {
			return fmt.Errorf("%s: got %s", t.command, text)
		}
		t.got = append(t.got, parseResponse(untagged))
	}
	c := p.comparison(t)
	if (want.kind == "OK") != (got.kind == "OK") {
		c.differ("want %s, got %s", want.text, got.text)
	}
	c.compare(append(t.want, want), append(t.got, got))
	p.conclude(t, c)
	return nil
}

func (p *player) comparison(t *talk) *comparison {
	return &comparison{names: p.names, announced: p.announced, sorted: strings.Contains(t.command, "SORT ")}
}

func (p *player) conclude(t *talk, c *comparison) {
	p.commands++
	if _, ok := t.notes.find("differs", p.server); ok {
		p.excused++
		if len(c.found) == 0 {
			p.remark(t.line, t.command+": it is noted to differ, and does not")
		}
		return
	}
	if len(c.found) > 0 {
		p.report(t.line, t.command+": "+strings.Join(c.found, "\n\t"))
	}
}

// settle waits for what sessions, but for one, are to be told without a command.
func (p *player) settle(but *talk) error {
	for _, t := range p.sessions {
		if t == but || len(t.want) == 0 || t.tag != "" && !t.idle {
			continue
		}
		if err := p.await(t); err != nil {
			return err
		}
	}
	return nil
}

// await reads until everything expected has come.
func (p *player) await(t *talk) error {
	deadline := time.Now().Add(wait)
	if t.command == "" || t.tag == "" {
		t.command = "unasked"
	}
	for {
		c := p.comparison(t)
		done := c.try(func() bool { c.compare(t.want, t.got); return len(c.found) == 0 })
		if !done {
			text, err := t.read(deadline)
			if err == nil {
				t.got = append(t.got, parseResponse(strings.TrimPrefix(text, "* ")))
				continue
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				return err
			}
		}
		p.conclude(t, c)
		t.want, t.got = nil, nil
		if !t.idle {
			t.notes = nil
		}
		return nil
	}
}

// read reads one response with its literals, without its end.
func (t *talk) read(deadline time.Time) (string, error) {
	if err := t.conn.SetReadDeadline(deadline); err != nil {
		return "", err
	}
	var b strings.Builder
	for {
		line, err := t.in.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			return "", fmt.Errorf("after %q: %w", b.String(), err)
		}
		n, ok := literal([]byte(line))
		if !ok {
			return strings.TrimRight(b.String(), "\r\n"), nil
		}
		octets := make([]byte, n)
		for at := 0; at < n; {
			k, err := t.in.Read(octets[at:])
			if err != nil {
				return "", fmt.Errorf("a literal of %s octets: %w", strconv.Itoa(n), err)
			}
			at += k
		}
		b.Write(octets)
	}
}
