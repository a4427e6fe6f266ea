package remote

import (
	"context"
	"fmt"
	"sync"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// watches are those of an account. The master is asked for one a mailbox, again on each
// connection.
type watches struct {
	local state.Watchers
	turn  turn  // of who asks the master
	c     *conn // that was asked for all; who has the turn

	mu sync.Mutex
	of map[mail.MailboxID]*watch
}

// watch is one at the master.
type watch struct {
	users int // under mu

	c  *conn // that has it; who has the turn
	id uint64
}

func (w *watches) any() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.of) > 0
}

func (w *watches) watch(a *access, m mail.MailboxID) (<-chan struct{}, func()) {
	ch, unlocal := w.local.Watch(mail.AccountID{}, m)
	w.mu.Lock()
	at := w.of[m]
	if at == nil {
		at = &watch{}
		w.of[m] = at
	}
	at.users++
	first := at.users == 1
	w.mu.Unlock()
	if first {
		w.turn.take()
		live := w.c != nil && !w.c.dead()
		if live && at.c != w.c {
			live = w.ask(context.Background(), w.c, m, at, false) == nil
		}
		w.turn.give()
		if !live {
			a.ended() // looks for another connection
		}
	}
	return ch, sync.OnceFunc(func() {
		unlocal()
		w.stop(m, at)
	})
}

// stop gives a watch up with its last user.
func (w *watches) stop(m mail.MailboxID, at *watch) {
	w.mu.Lock()
	at.users--
	last := at.users == 0
	if last {
		delete(w.of, m)
	}
	w.mu.Unlock()
	if !last {
		return
	}
	w.turn.take()
	defer w.turn.give()
	if at.c != nil {
		at.c.giveUp(at.id)
		at.c.release()
		at.c = nil
	}
}

// renew asks for all watches on a new connection. Who watches is told to look again when
// the master has the watch.
func (w *watches) renew(ctx context.Context, c *conn) error {
	w.turn.take()
	defer w.turn.give()
	w.c = c
	w.mu.Lock()
	all := make(map[mail.MailboxID]*watch, len(w.of))
	for m, at := range w.of {
		all[m] = at
	}
	w.mu.Unlock()
	for m, at := range all {
		if err := w.ask(ctx, c, m, at, true); err != nil {
			return err
		}
	}
	return nil
}

// ask asks for one watch. Called with the turn. Whoever looks after a first one, looks
// when the master has it; again: they have looked before.
func (w *watches) ask(ctx context.Context, c *conn, m mail.MailboxID, at *watch, again bool) error {
	if !c.hold() {
		return c.lost()
	}
	id, err := c.begin(ctx, qWatch{m}, watching{w, m, again})
	if err != nil {
		c.release()
		return err
	}
	if at.c != nil {
		at.c.release()
	}
	at.c, at.id = c, id
	return nil
}

// watching waits for a watch's signals.
type watching struct {
	w     *watches
	m     mail.MailboxID
	again bool
}

// take implements waiter.
func (w watching) take(f frame) (bool, error) {
	switch f := f.(type) {
	case answer:
		if w.again {
			w.signal()
		}
		return false, nil
	case signal:
		w.signal()
		return false, nil
	case failed:
		return true, errorOf(f.Code, f.Text)
	}
	return true, fmt.Errorf("frame %T for a watch: %w", f, errProtocol)
}

func (w watching) signal() {
	w.w.local.Notify([]state.Changed{{Mailboxes: []mail.MailboxID{w.m}}})
}
