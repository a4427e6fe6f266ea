package state

import (
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// CommandAge is how long the outcome of a session's last command is kept when no
// other follows (one hour).
const CommandAge = mail.Instant(3600 * 1e6)

// maxCommandChunks bounds the parts of one command.
const maxCommandChunks = 10_000

// command is the record of a session's last command: the outcome of its first
// chunk, and how many others have records of their own.
type command struct {
	session mail.SessionID
	number  uint64
	top     uint32 // the highest chunk seen
	known   bool   // there is such a record

	chunk uint32 // of the operation at hand
	next  bool   // the operation at hand begins a new number
	old   uint32 // then: the highest chunk of the number before
	none  bool   // the operation has no id
}

func commandKey(dst key, a mail.AccountID, s mail.SessionID, chunk uint32) key {
	k := accountKey(dst, a, kindCommand).octets(s[:]...)
	if chunk > 0 {
		k = k.uint32(chunk)
	}
	return k
}

// recall looks an id up. The outcome is that of the first time, or OldCommand;
// nil for an id that is new. Exactly once: the same id has no second effect, even
// if the mailbox has changed since.
func (t *tx) recall(id *operation.CommandID) (c command, first *Outcome) {
	if id == nil {
		return command{none: true}, nil
	}
	c = command{session: mail.SessionID(id.Session), number: id.Number, chunk: id.Chunk, top: id.Chunk}
	octets := t.get(commandKey(t.key, t.id, c.session, 0))
	if octets == nil {
		return c, limitChunks(c)
	}
	var r reader
	r.start(octets)
	number, top, _ := r.uint(), r.uint32(), r.int()
	c.known = true
	switch {
	case id.Number < number:
		return c, &Outcome{Code: OldCommand}
	case id.Number > number:
		c.next, c.old = true, top
		return c, limitChunks(c)
	case id.Chunk > top:
		return c, limitChunks(c)
	}
	if id.Chunk > 0 {
		octets = t.get(commandKey(t.key, t.id, c.session, id.Chunk))
		r = reader{}
		if octets == nil { // a chunk that was left out
			return c, &Outcome{Code: OldCommand}
		}
		r.start(octets)
	}
	out := Outcome{Repeated: true}
	if r.flag() {
		out.Code, out.Result = r.result()
	} else { // the command began at a later chunk
		out = Outcome{Code: OldCommand}
	}
	if err := r.finish("command"); err != nil {
		t.fail(err)
	}
	return c, &out
}

func limitChunks(c command) *Outcome {
	if c.chunk >= maxCommandChunks {
		return &Outcome{Code: Limit}
	}
	return nil
}

// remember stores the outcome of the operation at hand under its id.
func (t *tx) remember(c command, code Code, res *mail.Result) {
	if c.none {
		return
	}
	if !c.known {
		t.enqueue(t.now+CommandAge, expireCommand, c.session[:])
	}
	if c.next {
		for chunk := uint32(1); chunk <= c.old; chunk++ {
			t.delete(commandKey(t.key, t.id, c.session, chunk))
		}
	}
	if c.chunk > 0 {
		t.buf.start()
		t.buf.octet(1)
		encodeResult(&t.buf, code, res)
		t.set(commandKey(t.key, t.id, c.session, c.chunk), t.buf)
	}
	t.writeCommand(c, code, res)
}

// writeCommand writes the session's record. With a later chunk the outcome of the
// first is carried over.
func (t *tx) writeCommand(c command, code Code, res *mail.Result) {
	var rest []byte
	if c.chunk > 0 && c.known && !c.next {
		var r reader
		r.start(t.get(commandKey(t.key, t.id, c.session, 0)))
		r.uint()
		r.uint()
		r.int()
		if r.bad {
			t.fail(r.finish("command"))
		}
		rest = append(rest, r.b...)
	}
	t.buf.start()
	t.buf.uint(c.number)
	t.buf.uint(uint64(c.top))
	t.buf.int(int64(t.now))
	switch {
	case rest != nil:
		t.buf.raw(rest)
	case c.chunk == 0:
		t.buf.octet(1)
		encodeResult(&t.buf, code, res)
	default:
		t.buf.octet(0)
	}
	t.set(commandKey(t.key, t.id, c.session, 0), t.buf)
}

// forgetCommand forgets a session that has been silent long enough; it is asked
// again later if it was not.
func (t *tx) forgetCommand(session []byte) {
	s := mail.SessionID(session)
	octets := t.get(commandKey(t.key, t.id, s, 0))
	if octets == nil {
		return
	}
	var r reader
	r.start(octets)
	_, top, when := r.uint(), r.uint32(), mail.Instant(r.int())
	if r.bad {
		t.fail(r.finish("command"))
		return
	}
	if when+CommandAge > t.now {
		t.enqueue(when+CommandAge, expireCommand, session)
		return
	}
	for chunk := range top + 1 {
		t.delete(commandKey(t.key, t.id, s, chunk))
	}
}
