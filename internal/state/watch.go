package state

import (
	"sync"

	"github.com/tandemail/tandemail/internal/mail"
)

// Watchers tells who waits that a mailbox may have changed, as mail.Account.Watch
// promises. The zero value is ready. Safe for concurrent use; it never blocks.
type Watchers struct {
	mu    sync.Mutex
	chans map[watched]map[chan struct{}]struct{}
}

// watched is a mailbox, or with the zero id all of an account.
type watched struct {
	account mail.AccountID
	mailbox mail.MailboxID
}

// Watch registers for one mailbox, with the zero id for the whole account. stop
// may be called more than once.
func (w *Watchers) Watch(a mail.AccountID, m mail.MailboxID) (ch <-chan struct{}, stop func()) {
	at, c := watched{a, m}, make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.chans == nil {
		w.chans = map[watched]map[chan struct{}]struct{}{}
	}
	if w.chans[at] == nil {
		w.chans[at] = map[chan struct{}]struct{}{}
	}
	w.chans[at][c] = struct{}{}
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if delete(w.chans[at], c); len(w.chans[at]) == 0 {
			delete(w.chans, at)
		}
	}
}

// Notify signals what an [Outcome] changed. Call it when the change is visible.
func (w *Watchers) Notify(changes []Changed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range changes {
		w.signal(watched{account: c.Account})
		for _, m := range c.Mailboxes {
			if !m.IsZero() {
				w.signal(watched{c.Account, m})
			}
		}
	}
}

func (w *Watchers) signal(at watched) {
	for c := range w.chans[at] {
		select {
		case c <- struct{}{}:
		default: // it has a signal it has not taken
		}
	}
}

// NotifyAll signals everybody: the state is no longer kept here.
func (w *Watchers) NotifyAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for at := range w.chans {
		w.signal(at)
	}
}
