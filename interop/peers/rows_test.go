package peers

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const mailbox = "measured"

// row is a line of a table.
type row struct {
	name    string
	command string
	alone   bool // no mailbox need be selected
}

// reads change nothing.
var reads = []row{
	{"SELECT", "SELECT " + mailbox, true},
	{"STATUS (MESSAGES UNSEEN UIDNEXT)", "STATUS " + mailbox + " (MESSAGES UNSEEN UIDNEXT)", true},
	{"FETCH 1:* FLAGS", "FETCH 1:* (FLAGS)", false},
	{"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)", "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)", false},
	{"FETCH 1:* ENVELOPE", "FETCH 1:* (ENVELOPE)", false},
	{"FETCH 1:* BODYSTRUCTURE", "FETCH 1:* (BODYSTRUCTURE)", false},
	{"FETCH 1:* BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)]", "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)])", false},
	{"FETCH 1:* BODY.PEEK[HEADER]", "FETCH 1:* (BODY.PEEK[HEADER])", false},
	{"FETCH 1:* BODY.PEEK[]", "FETCH 1:* (BODY.PEEK[])", false},
	{"SEARCH UNSEEN", "UID SEARCH UNSEEN", false},
	{"SEARCH KEYWORD", "UID SEARCH KEYWORD $Junk", false},
	{"SEARCH SINCE", "UID SEARCH SINCE 1-Apr-2026", false},
	{"SEARCH SENTSINCE", "UID SEARCH SENTSINCE 1-Apr-2026", false},
	{"SEARCH FROM", "UID SEARCH FROM s17@", false},
	{"SEARCH SUBJECT", "UID SEARCH SUBJECT violin", false},
	{"SEARCH HEADER MESSAGE-ID", "UID SEARCH HEADER MESSAGE-ID 4242@", false},
	{"SEARCH HEADER RECEIVED", "UID SEARCH HEADER RECEIVED nowhere", false},
	{"SEARCH BODY", "UID SEARCH BODY xylophone", false},
	{"SEARCH TEXT", "UID SEARCH TEXT xylophone", false},
	{"SORT (REVERSE DATE)", "UID SORT (REVERSE DATE) UTF-8 ALL", false},
	{"SORT (SUBJECT)", "UID SORT (SUBJECT) UTF-8 ALL", false},
	{"THREAD REFERENCES", "UID THREAD REFERENCES UTF-8 ALL", false},
}

// change is a command that is measured once, after others that are not.
type change struct {
	row
	before []string
}

// changes are made in this order, with n messages: a fifth of all.
func changes(n int) []change {
	span := fmt.Sprintf("1:%d", n)
	return []change{
		{row{"STORE 1:* +FLAGS", "STORE 1:* +FLAGS (\\Flagged)", false}, []string{"SELECT " + mailbox}},
		{row{"STORE 1:* -FLAGS.SILENT", "STORE 1:* -FLAGS.SILENT (\\Flagged)", false}, nil},
		{row{fmt.Sprintf("COPY %d", n), "COPY " + span + " one", false}, []string{"CREATE one", "CREATE two"}},
		{row{fmt.Sprintf("MOVE %d", n), "MOVE " + span + " two", false}, []string{"SELECT one"}},
		{row{fmt.Sprintf("EXPUNGE %d", n), "EXPUNGE", false}, []string{"SELECT two", "STORE 1:* +FLAGS.SILENT (\\Deleted)"}},
		{row{"", "", false}, []string{"SELECT " + mailbox, "DELETE one", "DELETE two"}},
	}
}

// sample is what a command cost.
type sample struct {
	wall, processor time.Duration
	octets          int64 // of the answer
}

// measure runs f and takes its time and the server's.
func measure(s server, c *client, f func() error) (sample, error) {
	before, err := processorTime(s.root())
	if err != nil {
		return sample{}, err
	}
	octets, began := c.octets, time.Now()
	if err := f(); err != nil {
		return sample{}, err
	}
	wall := time.Since(began)
	after, err := processorTime(s.root())
	return sample{wall, after - before, c.octets - octets}, err
}

// enter logs in and selects the mailbox.
func (d door) enter(ctx context.Context) (*client, error) {
	c, err := login(ctx, d.address, d.user, d.password)
	if err != nil {
		return nil, err
	}
	if err := c.do("SELECT %s", mailbox); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// enterFor logs in, and selects the mailbox if the row is about a selected one.
func (d door) enterFor(ctx context.Context, r row) (*client, error) {
	if r.alone {
		return login(ctx, d.address, d.user, d.password)
	}
	return d.enter(ctx)
}

// read measures a read n times.
func (d door) read(ctx context.Context, s server, r row, n int) (samples []sample, err error) {
	c, err := d.enterFor(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	for range n {
		one, err := measure(s, c, func() error { return c.do("%s", r.command) })
		if err != nil {
			return nil, err
		}
		samples = append(samples, one)
	}
	return samples, nil
}
