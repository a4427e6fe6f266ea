package peers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// client is one IMAP connection. It throws away what it is told, and does little
// work for it: what is measured is the server.
type client struct {
	conn   net.Conn
	in     *bufio.Reader
	out    *bufio.Writer
	number int
	octets int64 // read
}

// patience is for any one command.
const patience = 20 * time.Minute

func dial(ctx context.Context, address string) (*client, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := &client{conn: nc, in: bufio.NewReaderSize(nc, 256<<10), out: bufio.NewWriterSize(nc, 256<<10)}
	greeting, err := c.in.ReadString('\n')
	if err == nil && !strings.HasPrefix(greeting, "* OK") {
		err = fmt.Errorf("greeting: %s", strings.TrimSpace(greeting))
	}
	if err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	return c, nil
}

// login connects and logs in.
func login(ctx context.Context, address, user, password string) (*client, error) {
	c, err := dial(ctx, address)
	if err != nil {
		return nil, err
	}
	if err := c.do("LOGIN %s %s", user, password); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *client) close() error { return c.conn.Close() }

// do runs a command, which must succeed.
func (c *client) do(format string, args ...any) error {
	tag := c.begin(format, args...)
	if _, err := c.out.WriteString("\r\n"); err != nil {
		return err
	}
	return c.end(tag, fmt.Sprintf(format, args...))
}

// begin writes a command without its end.
func (c *client) begin(format string, args ...any) (tag string) {
	c.number++
	tag = "t" + strconv.Itoa(c.number)
	fmt.Fprintf(c.out, tag+" "+format, args...)
	return tag
}

// end sends the command and reads its answer.
func (c *client) end(tag, command string) error {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	line, err := c.answer(tag)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", command, err)
	case !strings.HasPrefix(line, "OK"):
		return fmt.Errorf("%s: %s", command, line)
	}
	return nil
}

// answer reads to the tagged line, and returns that without its tag.
func (c *client) answer(tag string) (string, error) {
	for {
		line, err := c.line()
		if err != nil {
			return "", err
		}
		if len(line) > len(tag) && line[0] == 't' && string(line[:len(tag)]) == tag && line[len(tag)] == ' ' {
			return strings.TrimSpace(string(line[len(tag)+1:])), nil
		}
		if n, ok := literal(line); ok {
			if _, err := c.in.Discard(n); err != nil {
				return "", err
			}
			c.octets += int64(n)
		}
	}
}

// line reads a line, or the last part of one that is too long to be of interest.
func (c *client) line() ([]byte, error) {
	for {
		line, err := c.in.ReadSlice('\n')
		c.octets += int64(len(line))
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// literal is the size of the literal that a line announces at its end.
func literal(line []byte) (int, bool) {
	line = line[:max(0, len(line)-len("\r\n"))]
	if len(line) == 0 || line[len(line)-1] != '}' {
		return 0, false
	}
	n, unit := 0, 1
	for i := len(line) - 2; i >= 0; i-- {
		switch d := line[i]; {
		case d == '{':
			return n, unit > 1
		case d < '0' || d > '9':
			return 0, false
		default:
			n, unit = n+unit*int(d-'0'), unit*10
		}
	}
	return 0, false
}

// idle begins IDLE and returns when the server waits.
func (c *client) idle() error {
	c.begin("IDLE\r\n")
	if err := c.out.Flush(); err != nil {
		return err
	}
	for {
		line, err := c.line()
		if err != nil {
			return fmt.Errorf("IDLE: %w", err)
		}
		if line[0] == '+' {
			return nil
		}
	}
}

const multiappend = 500 // messages

// fill appends messages numbered from 0.
func (c *client) fill(mailbox string, n int, from *corpus) error {
	for i := 0; i < n; {
		tag := c.begin("APPEND %s", mailbox)
		for j := 0; j < multiappend && i < n; j++ {
			c.appended(i, from)
			i++
		}
		if _, err := io.WriteString(c.out, "\r\n"); err != nil {
			return err
		}
		if err := c.end(tag, "APPEND"); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) appended(i int, from *corpus) {
	m := from.message(i)
	fmt.Fprintf(c.out, " %s %q {%d+}\r\n%s", flags(i), from.date(i).Format("02-Jan-2006 15:04:05 -0700"), len(m), m)
}

// appendEach appends n messages, each in a command of its own, one after another.
func (c *client) appendEach(mailbox string, n int, from *corpus) error {
	for i := range n {
		tag := c.begin("APPEND %s", mailbox)
		c.appended(i, from)
		if _, err := io.WriteString(c.out, "\r\n"); err != nil {
			return err
		}
		if err := c.end(tag, "APPEND"); err != nil {
			return err
		}
	}
	return nil
}
