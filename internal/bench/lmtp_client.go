package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Reply is a server's answer to one command, or for one recipient (RFC 2033).
type Reply struct {
	Code int
	Text string // the last line's text; empty for codes below 400
}

// OK reports whether the server took what was sent.
func (r Reply) OK() bool { return r.Code >= 200 && r.Code < 300 }

// Status is the code with the enhanced status code, if there is one: "451 4.3.2".
func (r Reply) Status() string {
	s := strconv.Itoa(r.Code)
	if first, _, _ := strings.Cut(r.Text, " "); strings.Count(first, ".") == 2 {
		s += " " + first
	}
	return s
}

// LMTP is a client of one LMTP connection: no retry, no queue, deadlines are the
// caller's. After an error that is not a Reply the connection can only be closed,
// and the outcome of the message under way is unknown. Not safe for concurrent use.
type LMTP struct {
	nc      net.Conn
	r       *bufio.Reader
	out     []byte
	open    bool // a transaction was begun and no message taken: RSET comes first
	replies []Reply

	Pipelining bool // announced by the server
	Chunking   bool
	EightBit   bool
}

// maxReplyLines bounds a multi-line reply.
const maxReplyLines = 100

// NewLMTP reads the greeting on nc and says LHLO with the given name.
func NewLMTP(nc net.Conn, name string) (*LMTP, error) {
	c := &LMTP{nc: nc, r: bufio.NewReaderSize(nc, 4096)}
	if r, err := c.readReply(nil); err != nil || r.Code != 220 {
		return nil, unwanted("greeting", r, err)
	}
	c.out = fmt.Appendf(c.out[:0], "LHLO %s\r\n", name)
	if err := c.flush(); err != nil {
		return nil, err
	}
	r, err := c.readReply(func(line []byte) {
		switch word, _, _ := strings.Cut(strings.ToUpper(string(line)), " "); word {
		case "PIPELINING":
			c.Pipelining = true
		case "CHUNKING":
			c.Chunking = true
		case "8BITMIME":
			c.EightBit = true
		}
	})
	if err != nil || r.Code != 250 {
		return nil, unwanted("LHLO", r, err)
	}
	return c, nil
}

func unwanted(what string, r Reply, err error) error {
	if err == nil {
		err = fmt.Errorf("%d %s", r.Code, r.Text)
	}
	return fmt.Errorf("answer to %s: %w", what, err)
}

// Data delivers msg with DATA: dots are stuffed, and CRLF is added when msg does
// not end with it, since DATA cannot say otherwise. It returns one reply a
// recipient in order, valid until the next delivery.
func (c *LMTP) Data(from string, to []string, msg []byte) ([]Reply, error) {
	c.envelope(from, to)
	c.out = append(c.out, "DATA\r\n"...)
	accepted, err := c.sendEnvelope(len(to))
	if err != nil {
		return nil, err
	}
	r, err := c.readReply(nil)
	if err != nil {
		return nil, fmt.Errorf("answer to DATA: %w", err)
	}
	if r.Code != 354 {
		c.settle(r)
		return c.replies, nil // the transaction stays open: see envelope
	}
	c.out = AppendDotStuffed(c.out[:0], msg)
	if err := c.flush(); err != nil {
		return nil, err
	}
	return c.results(accepted)
}

// Chunk delivers msg with one BDAT (RFC 3030), exactly as it is, in one round trip.
// The server must have announced CHUNKING and PIPELINING.
func (c *LMTP) Chunk(from string, to []string, msg []byte) ([]Reply, error) {
	c.envelope(from, to)
	c.out = append(c.out, "BDAT "...)
	c.out = strconv.AppendInt(c.out, int64(len(msg)), 10)
	c.out = append(c.out, " LAST\r\n"...)
	c.out = append(c.out, msg...)
	accepted, err := c.sendEnvelope(len(to))
	if err != nil {
		return nil, err
	}
	return c.results(accepted)
}

// Quit says QUIT, waits for the answer and closes the connection.
func (c *LMTP) Quit() error {
	c.out = append(c.out[:0], "QUIT\r\n"...)
	err := c.flush()
	if err == nil {
		_, err = c.readReply(nil)
	}
	return errors.Join(err, c.nc.Close())
}

func (c *LMTP) envelope(from string, to []string) {
	c.out = c.out[:0]
	if c.open {
		c.out = append(c.out, "RSET\r\n"...)
	}
	c.out = append(c.out, "MAIL FROM:<"...)
	c.out = append(c.out, from...)
	c.out = append(c.out, '>')
	if c.EightBit {
		c.out = append(c.out, " BODY=8BITMIME"...)
	}
	c.out = append(c.out, "\r\n"...)
	for _, rcpt := range to {
		c.out = append(c.out, "RCPT TO:<"...)
		c.out = append(c.out, rcpt...)
		c.out = append(c.out, ">\r\n"...)
	}
}

// sendEnvelope writes what is gathered and reads the answers to MAIL and RCPT. It
// returns how many recipients were accepted; their replies have code 0 until the
// message is answered.
func (c *LMTP) sendEnvelope(recipients int) (accepted int, err error) {
	if err := c.flush(); err != nil {
		return 0, err
	}
	if c.open {
		if r, err := c.readReply(nil); err != nil || !r.OK() {
			return 0, fmt.Errorf("answer to RSET: %v, %w", r, err)
		}
	}
	mail, err := c.readReply(nil)
	if err != nil {
		return 0, fmt.Errorf("answer to MAIL: %w", err)
	}
	c.open = true
	c.replies = c.replies[:0]
	for range recipients {
		r, err := c.readReply(nil)
		switch {
		case err != nil:
			return 0, fmt.Errorf("answer to RCPT: %w", err)
		case !mail.OK():
			r = mail
		case r.OK():
			r = Reply{}
			accepted++
		}
		c.replies = append(c.replies, r)
	}
	return accepted, nil
}

// results reads one reply for each accepted recipient; with none, the one reply to
// the refused data.
func (c *LMTP) results(accepted int) ([]Reply, error) {
	if accepted == 0 {
		_, err := c.readReply(nil)
		return c.replies, err
	}
	for i := range c.replies {
		if c.replies[i].Code != 0 {
			continue
		}
		r, err := c.readReply(nil)
		if err != nil {
			return nil, fmt.Errorf("answer to the message: %w", err)
		}
		c.replies[i] = r
	}
	c.open = false
	return c.replies, nil
}

// settle gives all recipients without a reply this one.
func (c *LMTP) settle(r Reply) {
	for i := range c.replies {
		if c.replies[i].Code == 0 {
			c.replies[i] = r
		}
	}
}

func (c *LMTP) flush() error {
	if _, err := c.nc.Write(c.out); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// readReply reads one reply; each gets the text of every line.
func (c *LMTP) readReply(each func(text []byte)) (Reply, error) {
	for range maxReplyLines {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return Reply{}, fmt.Errorf("read reply: %w", err)
		}
		code, more, text, ok := parseReply(line)
		if !ok {
			return Reply{}, fmt.Errorf("read reply: malformed line %q", line)
		}
		if each != nil {
			each(text)
		}
		if more {
			continue
		}
		r := Reply{Code: code}
		if code >= 400 {
			r.Text = string(text)
		}
		return r, nil
	}
	return Reply{}, errors.New("read reply: too many lines")
}

func parseReply(line []byte) (code int, more bool, text []byte, ok bool) {
	line = bytes.TrimRight(line, "\r\n")
	if len(line) < 3 {
		return 0, false, nil, false
	}
	for _, d := range line[:3] {
		if d < '0' || d > '9' {
			return 0, false, nil, false
		}
		code = code*10 + int(d-'0')
	}
	if len(line) == 3 {
		return code, false, nil, true
	}
	return code, line[3] == '-', line[4:], line[3] == '-' || line[3] == ' '
}

// AppendDotStuffed appends msg as DATA sends it: a dot after CRLF and at the
// beginning is doubled, and the end is CRLF "." CRLF.
func AppendDotStuffed(dst, msg []byte) []byte {
	if len(msg) > 0 && msg[0] == '.' {
		dst = append(dst, '.')
	}
	rest := msg
	for {
		i := bytes.Index(rest, []byte("\r\n."))
		if i < 0 {
			break
		}
		dst = append(dst, rest[:i+2]...)
		dst = append(dst, '.')
		rest = rest[i+2:]
	}
	dst = append(dst, rest...)
	if !bytes.HasSuffix(msg, []byte("\r\n")) && len(msg) > 0 {
		dst = append(dst, "\r\n"...)
	}
	return append(dst, ".\r\n"...)
}
