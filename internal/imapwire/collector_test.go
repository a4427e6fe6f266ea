package imapwire

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// feed gives in to c in pieces of the given size and notes every step.
func feed(c *Collector, in string, piece int) (steps []string) {
	for len(in) > 0 {
		n, step, err := c.Feed([]byte(in[:min(piece, len(in))]))
		in = in[n:]
		switch {
		case step == Refused:
			steps = append(steps, fmt.Sprintf("refused %s: %v", err.(*SyntaxError).Tag, err))
		case err != nil:
			return append(steps, "error: "+err.Error())
		case step == NeedContinue:
			steps = append(steps, "continue")
		case step == Whole:
			raw := c.Take()
			s := fmt.Sprintf("%q", raw.Text)
			for _, l := range raw.Literals {
				s += fmt.Sprintf(" %q", l.Data)
			}
			steps = append(steps, s)
		}
	}
	return steps
}

func TestCommandsAreFoundWhateverThePieces(t *testing.T) {
	for in, want := range map[string]string{
		"a NOOP\r\nb NOOP\n":                          `"a NOOP"; "b NOOP"`,
		"\r\n\n":                                      `""; ""`,
		"a X {3}\r\nb\r\n Y\r\n":                      `continue; "a X {3}\r\n Y" "b\r\n"`,
		"a X {3+}\nabc {0}\r\n\r\nb Z\r\n":            `continue; "a X {3+}\r\n {0}\r\n" "abc" ""; "b Z"`,
		"a X ~{2+}\r\n{9\r\n":                         `"a X ~{2+}\r\n" "{9"`,
		"a X \"y {1+}\r\nz\"\r\n":                     `"a X \"y {1+}\r\n\"" "z"`,
		"a X {}\r\na X {x}\r\na X {1} \r\na X 1}\r\n": `"a X {}"; "a X {x}"; "a X {1} "; "a X 1}"`,
		"a X {200}\r\nb NOOP\r\n":                     `refused a: Literal is larger than 100 octets; "b NOOP"`,
		"a X {101+}\r\n" + strings.Repeat("x", 101) + "\r\nb Y\r\n": `refused a: Literal is larger than 100 octets; "b Y"`,
		"a X {99999999999999999999}\r\nb Y\r\n":                     `refused a: Literal is larger than 100 octets; "b Y"`,
		"a X {9223372036854775807+}\r\n":                            `error: command is too long to skip`,
		"a " + strings.Repeat("x", 80) + "\r\nb Y\r\n":              `refused a: Command line is too long; "b Y"`,
		"a " + strings.Repeat("x", 80) + " {3+}\r\nabc\r\nb Y\r\n":  `refused a: Command line is too long; "b Y"`,
		"a X {1+}\r\nx {1+}\r\nx {1+}\r\nx {1+}\r\nx\r\nb Y\r\n":    `refused a: Too many literals; "b Y"`,
	} {
		for _, piece := range []int{1, 2, 7, 1000} {
			c := NewCollector(Limits{Line: 60, String: 100, Literals: 3}, nil)
			if got := strings.Join(feed(c, in, piece), "; "); got != want {
				t.Errorf("%q by %d:\n got %s\nwant %s", in, piece, got, want)
			} else if !strings.HasPrefix(got, "error") && !c.Idle() {
				t.Errorf("%q by %d: collector is not at a command's beginning", in, piece)
			}
		}
	}
}

type memorySpool struct {
	bytes.Buffer
	closed bool
}

func (m *memorySpool) Close() error {
	m.closed = true
	return nil
}

func (m *memorySpool) Open() (LiteralReader, error) {
	return inMemory{bytes.NewReader(m.Bytes())}, nil
}

func TestLargeMessagesAreSpooledAndSentOnUnchanged(t *testing.T) {
	message := strings.Repeat("0123456789", 100)
	in := "a APPEND x {3+}\r\nabc {1000+}\r\n" + message + "\r\n"
	var spools int
	c := NewCollector(Limits{Memory: 100}, func(size int64) (Spool, error) {
		spools++
		if size != 1000 {
			t.Errorf("spool of %d octets", size)
		}
		return new(memorySpool), nil
	})
	if _, step, err := c.Feed([]byte(in)); step != Whole || err != nil {
		t.Fatal(step, err)
	}
	raw := c.Take()
	if spools != 1 || raw.Literals[1].Data != nil {
		t.Fatalf("%d spools", spools)
	}
	var out bytes.Buffer
	n, err := raw.WriteTo(&out)
	if err != nil || n != int64(out.Len()) || n != raw.Size() || out.String() != in {
		t.Errorf("wrote %d octets, %v: %.60q", n, err, out.String())
	}
	if raw.Tag() != "a" || raw.Name() != "APPEND" {
		t.Errorf("tag %q, name %q", raw.Tag(), raw.Name())
	}
}

func TestLiteralsOfOneCommandAreBoundedTogether(t *testing.T) {
	var spools []*memorySpool
	limits := Limits{String: 100, Memory: 150, Message: 1000}
	c := NewCollector(limits, func(int64) (Spool, error) {
		spools = append(spools, new(memorySpool))
		return spools[len(spools)-1], nil
	})
	octets := func(n int) string { return fmt.Sprintf("{%d+}\r\n%s", n, strings.Repeat("x", n)) }
	// Arguments stay in memory.
	got := feed(c, "a X "+octets(100)+" "+octets(50)+"\r\nb X "+octets(100)+" "+octets(51)+"\r\n", 1000)
	if len(got) != 2 || got[1] != "refused b: Literals are larger than 150 octets together" || len(spools) != 0 {
		t.Errorf("arguments: %q, %d spools", got, len(spools))
	}
	// Messages go to the spool when memory is full, and are bounded there.
	in := "a APPEND x " + octets(100) + " " + octets(51) + " " + octets(949)
	if _, step, err := c.Feed([]byte(in + "\r\n")); step != Whole || err != nil {
		t.Fatal(step, err)
	}
	raw := c.Take()
	if raw.Literals[0].Data == nil || raw.Literals[1].Spool == nil || raw.Literals[2].Spool == nil || raw.Close() != nil {
		t.Errorf("literals %+v", raw.Literals)
	}
	if got := feed(c, in+" "+octets(1)+"\r\n", 1000); len(got) != 1 || got[0] != "refused a: Literals are larger than 1100 octets together" {
		t.Errorf("messages: %q", got)
	}
	for i, s := range spools {
		if !s.closed {
			t.Errorf("spool %d was not closed", i)
		}
	}
	if len(spools) != 4 || !c.Idle() {
		t.Errorf("%d spools, idle: %v", len(spools), c.Idle())
	}
}

func TestSpoolsAreClosedWithTheirCommand(t *testing.T) {
	var spools []*memorySpool
	c := NewCollector(Limits{Memory: 1, Literals: 2}, func(int64) (Spool, error) {
		spools = append(spools, new(memorySpool))
		return spools[len(spools)-1], nil
	})
	for _, in := range []string{
		"a APPEND x {2+}\r\nab\r\n",                       // taken
		"a APPEND x {2+}\r\nab {2+}\r\nab {2+}\r\nab\r\n", // refused
		"a APPEND x {2+}\r\na",                            // broken off
	} {
		switch _, step, _ := c.Feed([]byte(in)); step {
		case Whole:
			if raw := c.Take(); raw.Close() != nil {
				t.Error("close failed")
			}
		case NeedMore:
			if c.Close() != nil || !c.Idle() {
				t.Error("close failed")
			}
		}
	}
	if len(spools) != 4 {
		t.Errorf("%d spools", len(spools))
	}
	for i, s := range spools {
		if !s.closed {
			t.Errorf("spool %d was not closed", i)
		}
	}
}

func TestSpoolErrorEndsTheCollection(t *testing.T) {
	full := errors.New("disk is full")
	c := NewCollector(Limits{Memory: 1}, func(int64) (Spool, error) { return nil, full })
	if _, _, err := c.Feed([]byte("a APPEND x {9}\r\n")); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}
