package proxy

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/session"
)

// gather is how long output waits for more of it, so that many small units leave
// in one write.
const gather = 2 * time.Millisecond

// relay brings the answers to one command from a master to the client.
type relay struct {
	c     *client
	f     *flight
	alive <-chan time.Time

	frames chan received // closed when the reader has ended
	next   chan struct{} // the reader may go on

	n     uint32 // of the unit that comes next
	unit  unit
	whole bool           // the unit is, and waits for the next frame
	delta session.Delta  // then: the unit's
	left  int64          // of the literal that comes
	again *session.Place // where the client waits inside a response; nil: it does not
	quiet bool           // nothing was written since the last sign of life was due
}

// received is a frame, whose octets are valid until the next one is asked for.
type received struct {
	frame session.Frame
	err   error
}

func newRelay(c *client, f *flight, alive <-chan time.Time) *relay {
	r := &relay{c: c, f: f, alive: alive, frames: make(chan received, 1), next: make(chan struct{})}
	if c.midway {
		r.again = c.token.Fetch.Inside
	}
	return r
}

// run returns nil after the command's tagged line. A *lostError means that the
// stream has ended.
func (r *relay) run(ctx context.Context) error {
	go r.read(r.c.upstream.Backend)
	err := r.loop(ctx)
	if err != nil {
		r.c.upstream.Abort() // ends the reader
	}
	close(r.next)
	for range r.frames {
	}
	r.unit.drop(r.c)
	return err
}

// read reads frames up to the last of the command.
func (r *relay) read(b Backend) {
	defer close(r.frames)
	for {
		f, err := session.Receive(b)
		r.frames <- received{f, err}
		switch f.(type) {
		case session.Done, session.Failed, nil:
			return
		}
		if _, more := <-r.next; !more {
			return
		}
	}
}

func (r *relay) loop(ctx context.Context) error {
	flush := time.NewTimer(time.Hour)
	defer flush.Stop()
	for {
		var err error
		var listening chan listened
		if !r.f.ended {
			listening = r.f.listening
		}
		select {
		case in := <-r.frames:
			done, err := r.take(in)
			if done || err != nil {
				return err
			}
			r.quiet = false
			flush.Reset(gather)
			r.next <- struct{}{}
		case <-flush.C:
			err = r.c.flush()
		case <-r.alive:
			err = r.tick()
		case l := <-listening:
			err = r.c.heard(ctx, r.f, l)
		case <-ctx.Done():
			err = &byeError{byeShutdown, context.Cause(ctx)}
		}
		if err != nil {
			return err
		}
	}
}

// tick gives a sign of life if the client has heard nothing for long.
func (r *relay) tick() error {
	quiet := r.quiet
	r.quiet = true
	if !quiet {
		return nil
	}
	return r.c.signOfLife()
}

// take forwards one frame.
func (r *relay) take(in received) (done bool, err error) {
	if in.err != nil {
		return false, lostBy(in.err)
	}
	if f, failed := in.frame.(session.Failed); failed {
		r.c.srv.learn(r.c.upstream.to, f.Epoch)
		return false, &lostError{f.Reason, fmt.Errorf("master: %s: %s", f.Reason, f.Text)}
	}
	r.f.until = time.Time{} // a master is at work
	if r.whole {
		if err := r.forward(); err != nil {
			return false, err
		}
	}
	switch f := in.frame.(type) {
	case session.Unit:
		return false, r.takeUnit(f)
	case session.Stream:
		return false, r.takeStream(f)
	case session.Data:
		return false, r.takeData(f)
	case session.Done:
		if f.Command != r.f.number || r.c.midway || r.unit.begun {
			return false, r.violation("a tagged line of another command or inside a response")
		}
		return true, r.takeDone(f)
	}
	return false, r.violation(fmt.Sprintf("frame of type %T", in.frame))
}

func (r *relay) violation(text string) error {
	r.c.log.Error("master broke the session protocol", "err", text)
	return &lostError{session.Violation, fmt.Errorf("answer to command %d: %s", r.f.number, text)}
}

// takeUnit gathers a unit. One that is whole waits for what comes next, and is
// forwarded together with it: so the last one, and with most commands the only one,
// reaches the client together with the tagged line, or not at all. IDLE's go at once.
func (r *relay) takeUnit(u session.Unit) error {
	if u.Command != r.f.number || u.N != r.n || r.left > 0 || r.again != nil {
		return r.violation("a unit out of order")
	}
	octets := u.Octets
	if !r.unit.begun && r.f.idle && !r.f.watch {
		octets = r.mayWait(octets)
	}
	if err := r.unit.add(r.c, octets); err != nil || !u.Last {
		return err
	}
	r.n++
	r.whole, r.delta = true, u.Delta
	if r.f.idle {
		return r.forward()
	}
	return nil
}

// forward writes the unit that is whole.
func (r *relay) forward() error {
	r.whole = false
	if err := r.unit.forward(r.c); err != nil {
		return err
	}
	if r.unit.size > 0 {
		r.c.midway = r.c.dialect.unfinished(r.unit.tail)
	}
	r.unit.drop(r.c)
	r.apply(r.delta)
	if !r.c.midway {
		r.c.token.Fetch.Inside = nil
	}
	return nil
}

// takeStream begins a literal, or goes on in the one that the client is inside of.
func (r *relay) takeStream(s session.Stream) error {
	at := &session.Place{UID: s.UID, Item: s.Item, Octet: s.Offset, Length: s.Length}
	switch {
	case s.Command != r.f.number || !r.c.midway || r.left > 0:
		return r.violation("a literal where none was announced")
	case r.again == nil && s.Offset != 0, r.again != nil && *r.again != *at:
		return r.violation("a literal that begins at another place")
	}
	r.left = s.Length - s.Offset
	r.again, r.c.token.Fetch.Inside = nil, at
	return nil
}

func (r *relay) takeData(d session.Data) error {
	n := int64(len(d.Octets))
	if n == 0 || n > r.left {
		return r.violation("no octets, or more than the literal has")
	}
	r.left -= n
	r.c.token.Fetch.Inside.Octet += n
	return r.c.write(d.Octets)
}

// mayWait sees the continuation that lets the client wait, and takes it out the
// second time.
func (r *relay) mayWait(octets []byte) []byte {
	if !bytes.HasPrefix(octets, []byte("+ ")) {
		return octets
	}
	if r.f.listening == nil {
		r.c.listen(r.f)
		return octets
	}
	return octets[bytes.IndexByte(octets, '\n')+1:]
}

func (r *relay) takeDone(d session.Done) error {
	c, line := r.c, d.Line
	if r.f.garbled {
		line = []byte(r.f.tag + " BAD Expected DONE\r\n")
	}
	if err := c.write(line); err != nil {
		return err
	}
	r.apply(d.Delta)
	c.token.Complete(r.f.number)
	if r.f.watch {
		return nil
	}
	if c.dialect.understood(line) {
		c.errors = 0
		return nil
	}
	return c.blunder()
}

// apply brings the token to what the client has been told.
func (r *relay) apply(d session.Delta) {
	if err := r.c.token.Apply(d); err != nil && r.c.useless == nil {
		r.c.useless = err
		r.c.log.Error("session cannot be resumed any more", "err", err)
	}
}
