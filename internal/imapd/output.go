package imapd

import (
	"context"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// answer is a command's tagged response.
type answer struct {
	status, code, text string
	told               []told
	again              mail.ModSeq // flags that changed after it are told once more with the next command; 0: none
	highest            bool        // with QRESYNC, it says HIGHESTMODSEQ of the selected mailbox
}

// told says that the command has announced the change of these flags itself.
type told struct {
	uids mail.UIDSet
	at   mail.ModSeq
}

func ok(text string) answer           { return answer{status: imapwire.OK, text: text} }
func okCode(code, text string) answer { return answer{status: imapwire.OK, code: code, text: text} }
func no(code, text string) answer     { return answer{status: imapwire.NO, code: code, text: text} }
func bad(text string) answer          { return answer{status: imapwire.BAD, text: text} }

// unitSize is about how many octets of FETCH responses make a unit.
const unitSize = 128 << 10

// output gathers the responses of one command.
type output struct {
	sink    session.Sink
	command uint64
	units   uint32
	buf     []byte // whole responses, but while one is being written
	delta   session.Delta
}

// maxIdleBuffer is how much of a buffer a session keeps that does nothing: there
// are many of those.
const maxIdleBuffer = 4 << 10

// reuse is the buffer for what comes next, unless it has become large.
func (o *output) reuse() []byte {
	if cap(o.buf) > maxIdleBuffer {
		return nil
	}
	return o.buf[:0]
}

// untagged appends "* " and a line.
func (o *output) untagged(line string) {
	o.buf = append(o.buf, "* "...)
	o.buf = append(o.buf, line...)
	o.buf = append(o.buf, "\r\n"...)
}

// status appends an untagged OK with a code.
func (o *output) status(code, text string) {
	o.buf = imapwire.AppendTagged(o.buf, "*", imapwire.OK, code, text)
}

// flush gives what there is to the sink, as one unit.
func (o *output) flush(ctx context.Context) error {
	if len(o.buf) == 0 && o.delta.IsZero() {
		return nil
	}
	u := session.Unit{Command: o.command, N: o.units, Delta: o.delta, Octets: o.buf}
	o.units++
	err := o.sink.Unit(ctx, u)
	o.buf, o.delta = o.buf[:0], session.Delta{}
	if err != nil {
		return &lostError{err}
	}
	return nil
}

// done ends the command. A delta without responses goes with the tagged line.
func (o *output) done(ctx context.Context, tag string, a answer) error {
	d := session.Done{Command: o.command}
	if len(o.buf) == 0 {
		d.Delta, o.delta = o.delta, session.Delta{}
	} else if err := o.flush(ctx); err != nil {
		return err
	}
	if tag == "" {
		tag = "*"
	}
	d.Line = imapwire.AppendTagged(nil, tag, a.status, a.code, a.text)
	if err := o.sink.Done(ctx, d); err != nil {
		return &lostError{err}
	}
	return nil
}

// silent ends a command that no client sent.
func (o *output) silent(ctx context.Context) error {
	d := session.Done{Command: o.command, Delta: o.delta}
	o.delta = session.Delta{}
	if err := o.sink.Done(ctx, d); err != nil {
		return &lostError{err}
	}
	return nil
}

// flushUpTo gives the first n octets, whole responses, to the sink and keeps the
// rest, the beginning of one.
func (o *output) flushUpTo(ctx context.Context, n int) error {
	if n == 0 {
		return nil
	}
	rest := append([]byte(nil), o.buf[n:]...)
	o.buf = o.buf[:n]
	err := o.flush(ctx)
	o.buf = append(o.buf, rest...)
	return err
}
