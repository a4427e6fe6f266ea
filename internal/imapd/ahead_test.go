package imapd

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tandemail/tandemail/internal/mail"
)

// counts are of what a watched view was asked for.
type counts struct {
	opened, closed, open, most, late atomic.Int64
}

// watched is a view that counts the contents that are open, and those opened when it
// was closed.
type watched struct {
	mail.View
	n    *counts
	gone atomic.Bool
}

func (v *watched) Close() {
	v.gone.Store(true)
	v.View.Close()
}

func (v *watched) Open(ctx context.Context, msg mail.Message) (mail.Content, error) {
	c, err := v.View.Open(ctx, msg)
	if v.gone.Load() {
		v.n.late.Add(1)
	}
	if err != nil {
		return nil, err
	}
	v.n.opened.Add(1)
	v.n.most.Store(max(v.n.most.Load(), v.n.open.Add(1)))
	return &watchedContent{c, v.n}, nil
}

func (v *watched) OpenAll(ctx context.Context, msgs []mail.Message) []mail.Opened {
	return openEach(ctx, v, msgs)
}

type watchedContent struct {
	mail.Content
	n *counts
}

func (c *watchedContent) Close() error {
	c.n.closed.Add(1)
	c.n.open.Add(-1)
	return c.Content.Close()
}

// maxAhead is how many messages may be open that the command has not come to.
const maxAhead = maxDepth * (1 + maxComing)

// TestMessagesAreOpenedAhead holds that what is opened ahead is little, is closed, and
// is what the command wants.
func TestMessagesAreOpenedAhead(t *testing.T) {
	var n *counts
	a := &altered{newAccount(t), func(v mail.View) mail.View { return &watched{View: v, n: n} }}
	const many = 300 // more than a walk has at once
	n = new(counts)
	newDirect(t, a, 1).fill(many)
	for _, x := range []struct {
		command     string
		least, most int64 // opened
		fail        bool
	}{
		{command: "FETCH 1:* (BODY.PEEK[])", least: many, most: many},
		{command: "FETCH 7 (BODY.PEEK[])", least: 1, most: 1},
		{command: "FETCH 7,70,170,290 (BODY.PEEK[])", least: 4, most: 6},
		{command: "FETCH 1:* (FLAGS)"},
		{command: "SEARCH BODY nowhere", least: many, most: many},
		{command: "SEARCH BODY elsewhere", most: many / 8}, // signatures tell
		{command: "SEARCH BODY us", least: many, most: many},
		{command: "SEARCH 7 BODY nowhere", least: 1, most: 1},
		{command: "FETCH 1:* (BODY.PEEK[])", least: 99, most: 99 + maxAhead, fail: true},
	} {
		n = new(counts)
		d := newDirect(t, a, 2)
		d.ok("EXAMINE INBOX")
		if x.fail { // in the middle
			view := a.view
			a.view = func(v mail.View) mail.View { return damaged{view(v), 100, mail.ErrMoved} }
			defer func() { a.view = view }()
		}
		out, err := d.run("x " + x.command)
		if x.fail != (err != nil) {
			t.Fatalf("%s: %v", x.command, err)
		}
		if !x.fail && strings.HasPrefix(x.command, "FETCH 1:* (BODY") && strings.Count(out, "Subject: x") != many {
			t.Errorf("%s: %d messages", x.command, strings.Count(out, "Subject: x"))
		}
		if got := n.opened.Load(); got < x.least || got > x.most {
			t.Errorf("%s opened %d messages, want %d to %d", x.command, got, x.least, x.most)
		}
		if n.open.Load() != 0 || n.closed.Load() != n.opened.Load() || n.late.Load() != 0 {
			t.Errorf("%s opened %d, closed %d, %d after the view was closed", x.command, n.opened.Load(), n.closed.Load(), n.late.Load())
		}
		if most := n.most.Load(); most > maxAhead+1 {
			t.Errorf("%s had %d messages open at once", x.command, most)
		}
	}
}
