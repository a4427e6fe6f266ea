package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// plain is an IMAP client that shows every response as it came.
type plain struct {
	conn net.Conn
	in   *bufio.Reader
	hear func(response string) error // called with every untagged response
	tags int
}

// plainLogin connects and logs in.
func plainLogin(ctx context.Context, addr string, u user) (*plain, error) {
	d := net.Dialer{Timeout: dialTime}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	p := &plain{conn: conn, in: bufio.NewReader(conn), hear: func(string) error { return nil }}
	if _, err = p.response(); err == nil { // the greeting
		_, err = p.do("LOGIN %s %s", u.User, u.Password)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("log in at %s: %w", addr, err)
	}
	return p, nil
}

var literalEnd = regexp.MustCompile(`~?\{(\d+)\}\r\n$`)

// response reads a whole response, the octets of its literals included.
func (p *plain) response() (string, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(answerTime)) // a closed one fails at the read
	var all strings.Builder
	for {
		l, err := p.in.ReadString('\n')
		all.WriteString(l)
		if err != nil {
			return "", fmt.Errorf("after %.100q: %w", all.String(), err)
		}
		m := literalEnd.FindStringSubmatch(l)
		if m == nil {
			return all.String(), nil
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err == nil {
			_, err = io.CopyN(&all, p.in, n)
		}
		if err != nil {
			return "", fmt.Errorf("in a literal of %s octets: %w", m[1], err)
		}
	}
}

// do runs a command and returns the tagged line, which must be OK.
func (p *plain) do(format string, args ...any) (string, error) {
	p.tags++
	tag, command := fmt.Sprintf("t%d", p.tags), fmt.Sprintf(format, args...)
	if _, err := io.WriteString(p.conn, tag+" "+command+"\r\n"); err != nil {
		return "", fmt.Errorf("%.60s: %w", command, err)
	}
	return p.answer(tag, command)
}

// answer reads up to the tagged line.
func (p *plain) answer(tag, command string) (string, error) {
	for {
		r, err := p.response()
		switch {
		case err != nil:
			return "", fmt.Errorf("%.60s: %w", command, err)
		case strings.HasPrefix(r, tag+" OK"):
			return r, nil
		case strings.HasPrefix(r, tag+" "), strings.HasPrefix(r, "* BYE"):
			return "", fmt.Errorf("%.60s: answered %s", command, r)
		}
		if err := p.hear(r); err != nil {
			return "", fmt.Errorf("%.60s: %w", command, err)
		}
	}
}

// idle waits for at most d, or for ctx, and for what comes meanwhile.
func (p *plain) idle(ctx context.Context, d time.Duration) error {
	p.tags++
	tag := fmt.Sprintf("t%d", p.tags)
	if _, err := io.WriteString(p.conn, tag+" IDLE\r\n"); err != nil {
		return err
	}
	if r, err := p.response(); err != nil || !strings.HasPrefix(r, "+ ") {
		return fmt.Errorf("IDLE: answered %q, %w", r, err)
	}
	pause(ctx, d)
	if _, err := io.WriteString(p.conn, "DONE\r\n"); err != nil {
		return err
	}
	_, err := p.answer(tag, "IDLE")
	return err
}
