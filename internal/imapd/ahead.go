package imapd

import (
	"context"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/message"
)

// ahead reads what a command needs of the messages that its walk has at once: more of
// them the longer each is asked for, none that a search passes over.
type ahead struct {
	s    *Session
	rows []row

	derived [][]byte // of rows from number first on
	first   int
	step    int // how many are read at once

	opening map[int]*opening
	last    int // the row that was opened last
	depth   int // how many rows behind it are being opened
}

// How much is read ahead.
const (
	maxStep  = 64 // messages' derived data
	maxDepth = 4  // messages that are being opened, each at most with 64 KiB in memory
)

// opening is a message that is being opened.
type opening struct {
	done    chan struct{}
	content mail.Content
	err     error
}

// next makes other rows those that are read ahead.
func (a *ahead) next(rows []row) {
	a.drop()
	a.rows, a.derived, a.first, a.last = rows, nil, 0, -1
	for i := range rows {
		rows[i].ahead, rows[i].at = a, i
	}
}

// derivedOf gives what is cached of what is derived of row i, nil if that is nothing.
func (a *ahead) derivedOf(i int) []byte {
	if end := a.first + len(a.derived); i < a.first || i >= end {
		if a.step = min(max(1, 2*a.step), maxStep); i != end {
			a.step = 1
		}
		rows := a.rows[i:min(i+a.step, len(a.rows))]
		ids := make([]mail.EmailID, len(rows))
		for j := range rows {
			ids[j] = rows[j].msg.EmailID
		}
		a.derived, a.first = a.s.at.account.Derived(message.Version, ids...), i
	}
	return a.derived[i-a.first]
}

// open gives the octets of row i, which it has been opening if those before were
// asked for.
func (a *ahead) open(ctx context.Context, i int) (mail.Content, error) {
	v, err := a.s.current(ctx)
	if err != nil {
		return nil, err
	}
	if i == a.last+1 {
		a.depth = min(max(1, 2*a.depth), maxDepth)
	} else {
		a.depth = 0
	}
	a.last = i
	for j := i + 1; j <= i+a.depth && j < len(a.rows); j++ {
		if a.opening[j] == nil {
			a.begin(ctx, v, j)
		}
	}
	o := a.opening[i]
	if o == nil {
		return v.Open(ctx, a.rows[i].msg)
	}
	delete(a.opening, i)
	<-o.done // v.Open heeds ctx
	return o.content, o.err
}

// begin opens row i meanwhile. The View is not closed before that has ended.
func (a *ahead) begin(ctx context.Context, v mail.View, i int) {
	if a.opening == nil {
		a.opening = map[int]*opening{}
	}
	o := &opening{done: make(chan struct{})}
	a.opening[i] = o
	msg := a.rows[i].msg
	a.s.opens.Go(func() {
		defer close(o.done)
		o.content, o.err = v.Open(ctx, msg)
	})
}

// drop gives up what was opened and not asked for.
func (a *ahead) drop() {
	for i, o := range a.opening {
		<-o.done
		if o.err == nil {
			_ = o.content.Close() // read only
		}
		delete(a.opening, i)
	}
}
