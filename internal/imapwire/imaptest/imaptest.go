// Package imaptest talks IMAP for tests: a [Client] that sends what it is told and
// compares line by line, and [Run], which plays dialogue files ([Read] only reads one). It knows just
// enough of the protocol to find the ends of lines, so that it can be wrong about
// nothing else.
//
// A dialogue is lines of text:
//
//	# comment
//	C: a SELECT INBOX          sent, with CRLF
//	S: * <n> EXISTS            the next line received must look like this
//	C2: b NOOP                 the same in a second session, and so on
//	C: a APPEND INBOX {}       the number is filled in: "{n+}"
//	L: Subject: x              a line of the literal, with CRLF
//	C:  (rest)                 what follows the literal; needed, if only as "C:"
//
// In S lines "<*>" is any text, "<#>" any number, and "<name>" any word of letters
// and digits, the same wherever the name occurs again; C lines may use it then.
// "\xHH" is an octet, everywhere. Lines "#:" are for those who play the dialogue with
// another server; [Run] passes over them.
package imaptest

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// Patience is how long a Client waits for a line.
const Patience = 10 * time.Second

// Client is one connection. Its failures end the test.
type Client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	tags int
}

// NewClient talks on conn, which must buffer what is sent, as TCP does.
func NewClient(t testing.TB, conn net.Conn) *Client {
	return &Client{t: t, conn: conn, r: bufio.NewReader(conn)}
}

// Close closes the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Send sends octets as they are.
func (c *Client) Send(octets string) {
	c.t.Helper()
	_ = c.conn.SetWriteDeadline(time.Now().Add(Patience))
	if _, err := c.conn.Write([]byte(octets)); err != nil {
		c.t.Fatalf("send %.80q: %v", octets, err)
	}
}

// Line is the next line received, without its end. Lines of literals are lines as
// well.
func (c *Client) Line() string {
	c.t.Helper()
	line, err := c.receive()
	if err != nil {
		c.t.Fatalf("receive after %q: %v", line, err)
	}
	return line
}

func (c *Client) receive() (string, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(Patience))
	line, err := c.r.ReadString('\n')
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), err
}

// Command sends a command with a tag of its own, waits for its end and returns
// all lines before the tagged one, and that one without its tag.
func (c *Client) Command(format string, args ...any) (untagged []string, tagged string) {
	c.t.Helper()
	c.tags++
	tag := fmt.Sprintf("t%d", c.tags)
	c.Send(tag + " " + fmt.Sprintf(format, args...) + "\r\n")
	for {
		line := c.Line()
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			return untagged, rest
		}
		untagged = append(untagged, line)
	}
}

// OK is Command for one that must succeed.
func (c *Client) OK(format string, args ...any) (untagged []string) {
	c.t.Helper()
	untagged, tagged := c.Command(format, args...)
	if !strings.HasPrefix(tagged, "OK ") {
		c.t.Fatalf("%s: %s", fmt.Sprintf(format, args...), tagged)
	}
	return untagged
}

// Append appends a message and returns the tagged line.
func (c *Client) Append(mailbox, message string) string {
	c.t.Helper()
	_, tagged := c.Command("APPEND %q {%d+}\r\n%s", mailbox, len(message), message)
	return tagged
}
