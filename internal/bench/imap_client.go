package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// imapClient sends one command at a time and understands no more of the answers
// than a load generator must: how long they are and whether they say OK.
type imapClient struct {
	nc     net.Conn
	r      *bufio.Reader
	out    []byte
	tag    int
	exists int // messages in the selected mailbox, as last announced
	octets int // literal octets received by the last command
}

// refusal is a tagged NO or BAD.
type refusal struct{ status, text string }

func (r refusal) Error() string { return r.status + " " + r.text }

// code is what refusals are counted by: the status and its response code.
func (r refusal) code() string {
	if strings.HasPrefix(r.text, "[") {
		if code, _, ok := strings.Cut(r.text[1:], "]"); ok {
			word, _, _ := strings.Cut(code, " ")
			return r.status + " " + word
		}
	}
	return r.status
}

var (
	errGreeting = errors.New("no greeting")
	errBye      = errors.New("server said BYE")
	errResponse = errors.New("response makes no sense")
)

func newIMAPClient(nc net.Conn) (*imapClient, error) {
	c := &imapClient{nc: nc, r: bufio.NewReaderSize(nc, 16<<10)}
	line, err := c.line()
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(line, []byte("* OK")) {
		return nil, fmt.Errorf("%w: %q", errGreeting, line)
	}
	return c, nil
}

// do sends a command without literal and waits for its end.
func (c *imapClient) do(command string) error {
	c.begin(command)
	c.out = append(c.out, "\r\n"...)
	if _, err := c.nc.Write(c.out); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return c.finish()
}

// doLiteral sends a command that ends with a literal.
func (c *imapClient) doLiteral(command string, literal []byte) error {
	c.begin(command)
	c.out = fmt.Appendf(c.out, " {%d}\r\n", len(literal))
	if _, err := c.nc.Write(c.out); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if done, err := c.until('+'); done || err != nil {
		return err
	}
	c.out = append(append(c.out[:0], literal...), "\r\n"...)
	if _, err := c.nc.Write(c.out); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return c.finish()
}

func (c *imapClient) begin(command string) {
	c.tag++
	c.octets = 0
	c.out = append(c.out[:0], 'b')
	c.out = strconv.AppendInt(c.out, int64(c.tag), 10)
	c.out = append(c.out, ' ')
	c.out = append(c.out, command...)
}

func (c *imapClient) finish() error {
	for {
		if done, err := c.until(0); done || err != nil {
			return err
		}
	}
}

// until reads responses up to one that begins with mark (done is false), or up to
// the tagged one (done is true, err its refusal if it is one).
func (c *imapClient) until(mark byte) (done bool, err error) {
	for {
		line, err := c.response()
		if err != nil {
			return false, err
		}
		switch {
		case mark != 0 && line[0] == mark:
			return false, nil
		case line[0] == '*':
			if err := c.untagged(line); err != nil {
				return false, err
			}
		case line[0] == 'b':
			return true, c.tagged(line)
		}
	}
}

func (c *imapClient) untagged(line []byte) error {
	f := bytes.Fields(line[:min(len(line), 40)])
	if len(f) >= 2 && string(f[1]) == "BYE" {
		return fmt.Errorf("%w: %s", errBye, line)
	}
	if len(f) >= 3 && string(f[2]) == "EXISTS" {
		n, err := strconv.Atoi(string(f[1]))
		if err != nil {
			return fmt.Errorf("%w: %q", errResponse, line)
		}
		c.exists = n
	}
	return nil
}

func (c *imapClient) tagged(line []byte) error {
	tag, rest, _ := strings.Cut(string(line), " ")
	if tag != "b"+strconv.Itoa(c.tag) {
		return fmt.Errorf("%w: answer to another command: %q", errResponse, line)
	}
	status, text, _ := strings.Cut(rest, " ")
	if status == "OK" {
		return nil
	}
	return refusal{status, text}
}

// response reads one response and returns its first line. Literals are counted and
// passed over.
func (c *imapClient) response() ([]byte, error) {
	line, err := c.line()
	if err != nil {
		return nil, err
	}
	n, ok := literalSize(line)
	if !ok {
		return line, nil
	}
	first := bytes.Clone(line)
	for ok {
		if _, err := io.CopyN(io.Discard, c.r, n); err != nil {
			return nil, fmt.Errorf("read literal: %w", err)
		}
		c.octets += int(n)
		if line, err = c.line(); err != nil {
			return nil, err
		}
		n, ok = literalSize(line)
	}
	return first, nil
}

// line reads a line, without its end; a long one is cut to what fits the buffer.
func (c *imapClient) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return c.longLine(bytes.Clone(line))
	}
	if err != nil {
		return nil, fmt.Errorf("read response: %w", err)
	}
	line = bytes.TrimRight(line, "\r\n")
	if len(line) == 0 && c.tag > 0 {
		return []byte(" "), nil // the rest of a response after a literal
	}
	return line, nil
}

// longLine passes over the rest of a line whose beginning is head, and returns
// head with the very end, where a literal's size would be.
func (c *imapClient) longLine(head []byte) ([]byte, error) {
	for {
		more, err := c.r.ReadSlice('\n')
		if err == nil {
			return append(head, bytes.TrimRight(more, "\r\n")...), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, fmt.Errorf("read response: %w", err)
		}
	}
}

// literalSize reports the size of the literal that follows line, if one does.
func literalSize(line []byte) (int64, bool) {
	if len(line) < 3 || line[len(line)-1] != '}' {
		return 0, false
	}
	open := bytes.LastIndexByte(line, '{')
	if open < 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(line[open+1:len(line)-1]), 10, 64)
	return n, err == nil && n >= 0
}

// setDeadline bounds the next operation. A connection that is closed already says
// so at the next read.
func setDeadline(nc net.Conn, d time.Duration) { _ = nc.SetDeadline(time.Now().Add(d)) }

// quote makes s an IMAP quoted string.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
