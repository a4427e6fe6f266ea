package slot

import (
	"slices"
	"sync"

	"github.com/tandemail/tandemail/internal/mail"
)

// hub wakes those who watch an account or one of its mailboxes.
type hub struct {
	mu       sync.Mutex
	watchers map[mail.AccountID]map[*watcher]struct{}
}

type watcher struct {
	mailbox mail.MailboxID // zero: the whole account
	ch      chan struct{}  // buffer of one
}

func newHub() *hub { return &hub{watchers: map[mail.AccountID]map[*watcher]struct{}{}} }

func (h *hub) watch(a mail.AccountID, m mail.MailboxID) (<-chan struct{}, func()) {
	w := &watcher{m, make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers[a] == nil {
		h.watchers[a] = map[*watcher]struct{}{}
	}
	h.watchers[a][w] = struct{}{}
	return w.ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers[a], w)
		if len(h.watchers[a]) == 0 {
			delete(h.watchers, a)
		}
	}
}

// changed wakes the watchers of these mailboxes and those of the whole account.
// The zero mailbox among them wakes everybody.
func (h *hub) changed(a mail.AccountID, ms []mail.MailboxID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers[a] {
		if w.mailbox.IsZero() || slices.Contains(ms, w.mailbox) || slices.Contains(ms, mail.MailboxID{}) {
			w.wake()
		}
	}
}

// all wakes everybody: this slot no longer serves, look and be told.
func (h *hub) all() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, ws := range h.watchers {
		for w := range ws {
			w.wake()
		}
	}
}

func (w *watcher) wake() {
	select {
	case w.ch <- struct{}{}:
	default:
	}
}
