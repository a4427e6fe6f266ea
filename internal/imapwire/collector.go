package imapwire

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrFlood means that the peer sends far more than a refused command may have:
// only closing the connection helps.
var ErrFlood = errors.New("command is too long to skip")

// Step is what a [Collector] wants next.
type Step uint8

// The steps.
const (
	NeedMore     Step = iota // all of p was taken
	NeedContinue             // send a continuation request, then feed on
	Whole                    // Take gives the command
	Refused                  // the error is its answer; the stream is in step again
)

// Spool is room for one large literal.
type Spool interface {
	io.Writer
	Spooled
}

// Collector gathers whole commands from a stream that comes in pieces. It holds
// at most Limits.Line octets of text and Limits.Memory of literals in memory, and
// spools messages beyond that; all literals together are no more than one message
// and one argument may be. Without a spool all of that is in memory.
type Collector struct {
	limits   Limits
	newSpool func(size int64) (Spool, error)

	scan    Scanner
	raw     Raw
	spool   Spool
	total   int64 // octets of literals
	memory  int64 // of them in memory
	refusal *SyntaxError
	skipped int64
}

// NewCollector makes one. newSpool may be nil: everything stays in memory.
func NewCollector(limits Limits, newSpool func(size int64) (Spool, error)) *Collector {
	return &Collector{limits: limits.withDefaults(), newSpool: newSpool}
}

// Feed takes the first n octets of p. With Refused the error is a *[SyntaxError];
// every other error is final: ErrFlood or that of a spool.
func (c *Collector) Feed(p []byte) (n int, step Step, err error) {
	for n < len(p) {
		k, ev := c.scan.Next(p[n:])
		b := p[n : n+k]
		n += k
		if step, err := c.take(b, ev); step != NeedMore || err != nil {
			return n, step, err
		}
	}
	return n, NeedMore, nil
}

// Take gives the command that Feed called Whole; the caller closes it when it is
// done. The Collector begins anew.
func (c *Collector) Take() Raw {
	raw := c.raw
	c.reset()
	return raw
}

// Close forgets an unfinished command and gives its space back.
func (c *Collector) Close() error {
	err := c.raw.Close()
	c.reset()
	return err
}

// Idle reports whether nothing of a command is there.
func (c *Collector) Idle() bool {
	return len(c.raw.Text) == 0 && c.refusal == nil && c.scan == Scanner{}
}

func (c *Collector) reset() {
	c.raw, c.spool, c.total, c.memory, c.refusal, c.skipped = Raw{}, nil, 0, 0, nil, 0
	c.scan.Reset()
}

func (c *Collector) take(b []byte, ev Event) (Step, error) {
	if c.refusal != nil {
		return c.skip(b, ev)
	}
	switch ev {
	case Content:
		return NeedMore, c.content(b)
	case Text:
		c.text(b)
	case EndOfLine:
		c.text(b)
		c.endLine()
		c.raw.Text = append(c.raw.Text, "\r\n"...)
		return c.announced()
	case EndOfCommand:
		c.text(b)
		c.endLine()
		if c.refusal == nil {
			return Whole, nil
		}
	}
	return c.skip(nil, ev)
}

func (c *Collector) text(b []byte) {
	room := c.limits.Line + len("\r\n") - len(c.raw.Text) // the line's end does not count
	if len(b) > room {
		c.raw.Text = append(c.raw.Text, b[:max(room, 0)]...)
		c.refuse("Command line is too long")
		return
	}
	c.raw.Text = append(c.raw.Text, b...)
}

// endLine cuts the end of the last line off.
func (c *Collector) endLine() {
	t := c.raw.Text
	if n := len(t); n > 0 && t[n-1] == '\n' {
		t = t[:n-1]
		if n > 1 && t[n-2] == '\r' {
			t = t[:n-2]
		}
	}
	c.raw.Text = t
}

func (c *Collector) content(b []byte) error {
	if c.spool != nil {
		if _, err := c.spool.Write(b); err != nil {
			return fmt.Errorf("spool literal: %w", err)
		}
		return nil
	}
	l := &c.raw.Literals[len(c.raw.Literals)-1]
	l.Data = append(l.Data, b...)
	return nil
}

// announced decides about the literal that the last line announced.
func (c *Collector) announced() (Step, error) {
	a := c.scan.Literal()
	c.check(a)
	if c.refusal != nil {
		return c.skip(nil, EndOfLine)
	}
	l := Literal{Announcement: a}
	c.spool = nil
	c.total += a.Size
	if c.memory+a.Size > c.limits.Memory && c.newSpool != nil {
		s, err := c.newSpool(a.Size)
		if err != nil {
			return NeedMore, fmt.Errorf("make spool of %d octets: %w", a.Size, err)
		}
		c.spool, l.Spool = s, s
	} else {
		c.memory += a.Size
		l.Data = make([]byte, 0, min(a.Size, c.limits.Memory))
	}
	c.raw.Literals = append(c.raw.Literals, l)
	if a.Sync {
		return NeedContinue, nil
	}
	return NeedMore, nil
}

func (c *Collector) check(a Announcement) {
	limit, together := c.limits.String, max(c.limits.Memory, c.limits.String)
	if takesMessages(nameOf(c.raw.Text)) {
		limit, together = c.limits.Message, c.limits.Message+c.limits.String
	}
	switch {
	case c.refusal != nil:
	case a.Size > limit:
		c.refuse(fmt.Sprintf("Literal is larger than %d octets", limit))
		if c.refusal.Code = CodeTooBig; nameOf(c.raw.Text) == "SETMETADATA" {
			c.refusal.No, c.refusal.Code = true, fmt.Sprintf("METADATA MAXSIZE %d", limit) // RFC 5464 4.3
		}
	case !a.Sync && a.Size > c.limits.NonSync:
		c.refuse(fmt.Sprintf("Non-synchronizing literal is larger than %d octets", c.limits.NonSync))
	case len(c.raw.Literals) >= c.limits.Literals:
		c.refuse("Too many literals")
	case c.total+a.Size > together:
		c.refuse(fmt.Sprintf("Literals are larger than %d octets together", together))
		c.refusal.Code = CodeTooBig
	}
}

func takesMessages(name string) bool {
	return name == "APPEND" || strings.HasSuffix(name, "REPLACE")
}

func (c *Collector) refuse(text string) {
	if c.refusal == nil {
		c.refusal = &SyntaxError{Tag: tagOf(c.raw.Text), Text: text}
	}
}

// skip swallows what is left of a refused command. Without a continuation the
// client sends nothing more of it.
func (c *Collector) skip(b []byte, ev Event) (Step, error) {
	c.skipped += int64(len(b))
	over := ev == EndOfCommand
	if ev == EndOfLine {
		if c.scan.Literal().Sync {
			over = true
		} else if c.scan.Pending() > maxSkipTotal-c.skipped {
			return NeedMore, ErrFlood
		}
	}
	if over {
		refusal := c.refusal
		if err := c.Close(); err != nil {
			return NeedMore, fmt.Errorf("close spool: %w", err)
		}
		return Refused, refusal
	}
	if c.skipped > maxSkipTotal {
		return NeedMore, ErrFlood
	}
	return NeedMore, nil
}
