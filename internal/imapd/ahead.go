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
	box  *box
	rows []row

	pieces     [message.Pieces]pages
	fields     pages // of one field that is not kept
	signatures pages

	derived [][]byte // of rows from number first on
	first   int
	step    int // how many are read at once

	opened *batch   // where the command is; nil: nowhere
	coming []*batch // what follows it
	last   int      // the row that was opened last
	depth  int      // how many were opened at once

	parsing    bool // what is opened is parsed, too: the row that was opened last was
	lastParsed int
}

// How much is read ahead.
const (
	maxStep = 64 // messages' derived data
	// Messages that are opened at once, and how many of their octets that may hold in
	// memory; of a large one a part is held.
	maxDepth    = 16
	depthOctets = 128 << 10
	largeOctets = 64 << 10
	maxComing   = 2 // batches that are being opened
)

// batch is messages that are opened together: those of rows from number first on.
type batch struct {
	first  int
	list   []mail.Opened // what was taken is nil
	number int
	parsed [][]byte      // what was derived of those that were parsed, else nil
	done   chan struct{} // closed when list is there; nil: it is
}

func (b *batch) has(i int) bool { return b != nil && i >= b.first && i < b.first+b.number }

func newAhead(s *Session, b *box) *ahead {
	a := &ahead{s: s, box: b}
	for p := range a.pieces {
		a.pieces[p] = pages{version: piecesVersion | uint32(p), largest: largePiece}
	}
	a.signatures = pages{version: message.SignatureVersion, largest: message.MaxSignature}
	return a
}

// load reads the records of all rows.
func (a *ahead) load(ctx context.Context) error {
	v, err := a.s.current(ctx)
	if err != nil {
		return err
	}
	return a.box.readMessages(v, a.rows)
}

// next makes other rows those that are read ahead.
func (a *ahead) next(rows []row) {
	a.drop()
	a.rows, a.derived, a.first, a.last, a.lastParsed = rows, nil, 0, -1, -1
	for i := range rows {
		rows[i].ahead, rows[i].at = a, i
	}
}

// derivedOf gives what is cached of what is derived of row i, nil if that is nothing.
func (a *ahead) derivedOf(ctx context.Context, i int) ([]byte, error) {
	if err := a.have(ctx, i); err != nil {
		return nil, err
	}
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
	return a.derived[i-a.first], nil
}

// have makes sure that row i's record is there.
func (a *ahead) have(ctx context.Context, i int) error {
	_, err := a.rows[i].message(ctx)
	return err
}

// open gives the octets of row i, which it has been opening if those before were
// asked for.
func (a *ahead) open(ctx context.Context, i int) (mail.Content, error) {
	if err := a.have(ctx, i); err != nil {
		return nil, err
	}
	v, err := a.s.current(ctx)
	if err != nil {
		return nil, err
	}
	onward := i == a.last+1
	if a.lastParsed != a.last {
		a.parsing = false
	}
	a.last = i
	if !onward {
		a.depth = 0
	}
	for !a.opened.has(i) && len(a.coming) > 0 {
		a.opened.close()
		a.opened = a.coming[0]
		a.coming = a.coming[1:]
	}
	if !a.opened.has(i) {
		a.opened.close()
		a.opened = nil
		a.follow(ctx, v, i+1, onward)
		return v.Open(ctx, a.rows[i].msg)
	}
	a.follow(ctx, v, a.opened.first+a.opened.number, onward)
	if o := a.opened.take(i); o.Content != nil || o.Err != nil {
		return o.Content, o.Err
	}
	return v.Open(ctx, a.rows[i].msg) // it was taken
}

// follow begins to open what comes after the batches that there are, or row next, if the
// command seems to want it.
func (a *ahead) follow(ctx context.Context, v mail.View, next int, onward bool) {
	for onward && len(a.coming) < maxComing {
		if n := len(a.coming); n > 0 {
			next = a.coming[n-1].first + a.coming[n-1].number
		}
		if next >= len(a.rows) {
			return
		}
		a.depth = min(max(1, 2*a.depth), maxDepth)
		a.begin(ctx, v, next)
	}
}

// begin opens rows from first on meanwhile, at least one. The View is not closed before
// that has ended.
func (a *ahead) begin(ctx context.Context, v mail.View, first int) {
	msgs := make([]mail.Message, 0, a.depth)
	octets := int64(0)
	for i := first; i < len(a.rows) && len(msgs) < a.depth && octets < depthOctets; i++ {
		msgs = append(msgs, a.rows[i].msg)
		octets += min(a.rows[i].msg.Size, largeOctets)
	}
	b := &batch{first: first, number: len(msgs), parsed: make([][]byte, len(msgs)), done: make(chan struct{})}
	a.coming = append(a.coming, b)
	parsing := a.parsing
	a.s.opens.Go(func() {
		defer close(b.done)
		b.list = v.OpenAll(ctx, msgs)
		for i, o := range b.list {
			if parsing && o.Err == nil && ctx.Err() == nil {
				b.parsed[i] = parseAhead(o.Content)
			}
		}
	})
}

// parseAhead parses a small message; who wants one that gave nothing parses it himself, and
// sees the error, or has the panic where it costs one session and not the process.
func parseAhead(octets mail.Content) (data []byte) {
	defer func() {
		if recover() != nil {
			data = nil
		}
	}()
	if octets.Size() > largeOctets {
		return nil
	}
	data, _ = parse(octets) // it comes again
	return data
}

// parsed gives what was derived of row i, which open gave, or nil, and has the rows after
// it parsed while they are opened.
func (a *ahead) parsed(i int) []byte {
	a.parsing, a.lastParsed = true, i
	if b := a.opened; b.has(i) && b.done == nil {
		return b.parsed[i-b.first]
	}
	return nil
}

// take gives row i of the batch, once, to be closed by the caller.
func (b *batch) take(i int) mail.Opened {
	if b.done != nil {
		<-b.done // OpenAll heeds ctx
		b.done = nil
	}
	o := b.list[i-b.first]
	b.list[i-b.first].Content = nil
	return o
}

// close gives up what was not taken.
func (b *batch) close() {
	if b == nil {
		return
	}
	if b.done != nil {
		<-b.done
	}
	for i := range b.list {
		if c := b.list[i].Content; c != nil {
			_ = c.Close() // read only
		}
	}
}

// end is the end of the walk.
func (a *ahead) end() {
	a.drop()
	for p := range a.pieces {
		a.write(&a.pieces[p])
	}
	a.write(&a.fields)
	a.write(&a.signatures)
}

// drop gives up what was opened and not asked for.
func (a *ahead) drop() {
	a.opened.close()
	for _, b := range a.coming {
		b.close()
	}
	a.opened, a.coming = nil, nil
}
