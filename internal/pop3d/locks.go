package pop3d

import (
	"fmt"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// returnTime is how long after a change of master only sessions that were there
// before may take a lock: their clients cannot be asked to wait, new ones can.
const returnTime = 10 * time.Second

// Locks are the maildrops in use on a machine (RFC 1939 4: exclusive access). The
// zero value is none. Any goroutine may use it.
type Locks struct {
	mu   sync.Mutex
	held map[mail.AccountID]*lock
}

type lock struct{ session mail.SessionID }

// take locks a maildrop. A session that returns takes the lock over from itself: its
// former stream may not have ended yet. session.ErrInUse, mail.ErrBusy.
func (l *Locks) take(a mail.AccountID, by mail.SessionID, since time.Duration, returning bool) (release func(), err error) {
	if !returning && since < returnTime {
		return nil, fmt.Errorf("maildrop of %s: %w: sessions of the master before may return", a, mail.ErrBusy)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.held[a]; h != nil && h.session != by {
		return nil, fmt.Errorf("maildrop of %s: %w", a, session.ErrInUse)
	}
	if l.held == nil {
		l.held = map[mail.AccountID]*lock{}
	}
	mine := &lock{by}
	l.held[a] = mine
	return func() { l.release(a, mine) }, nil
}

func (l *Locks) release(a mail.AccountID, mine *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[a] == mine {
		delete(l.held, a)
	}
}
