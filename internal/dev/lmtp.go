package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/emersion/go-smtp"
)

// lmtpTime bounds one command; a delivery may be held for some seconds.
const lmtpTime = 60 * time.Second

// delivery is a connection to a machine's router.
type delivery struct{ client *smtp.Client }

func dialLMTP(ctx context.Context, addr string) (*delivery, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to the router: %w", err)
	}
	c := smtp.NewClientLMTP(conn)
	c.CommandTimeout, c.SubmissionTimeout = lmtpTime, lmtpTime
	if err := c.Hello("localhost"); err != nil {
		return nil, errors.Join(fmt.Errorf("greet the router: %w", err), c.Close())
	}
	return &delivery{c}, nil
}

// send delivers one message; the error is the first recipient's that failed.
func (d *delivery) send(from string, to []string, r io.Reader) error {
	if err := d.client.Mail(from, nil); err != nil {
		return fmt.Errorf("sender %s: %w", from, err)
	}
	for _, t := range to {
		if err := d.client.Rcpt(t, nil); err != nil {
			return errors.Join(fmt.Errorf("recipient %s: %w", t, err), d.client.Reset())
		}
	}
	w, err := d.client.Data()
	if err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	if _, err := io.Copy(w, r); err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	if _, err = w.CloseWithLMTPResponse(); err != nil {
		return fmt.Errorf("deliver: %w", err)
	}
	return nil
}

func (d *delivery) close() {
	if d.client.Quit() != nil {
		_ = d.client.Close() // the connection is gone either way
	}
}
