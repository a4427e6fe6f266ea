package state

import (
	"sync"

	"github.com/tandemail/tandemail/internal/mail"
)

// Recents are the marks of \Recent that were raised here and that may not be applied
// yet: of two sessions that look at once, one is told of a message first. The zero value
// has none. Safe for concurrent use.
type Recents struct {
	mu       sync.Mutex
	new, old map[RecentKey]mail.UID
}

// RecentKey says whose mark it is.
type RecentKey struct {
	Account mail.AccountID
	Mailbox mail.MailboxID
	User    string
}

// maxRecents is how many are kept in either half. When new is full it becomes old, whose
// marks have been applied long since.
const maxRecents = 4096

// Get is the mark that was raised here, 0 if none is known.
func (m *Recents) Get(k RecentKey) mail.UID {
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(m.new[k], m.old[k])
}

// Raise raises a mark, and returns what it was.
func (m *Recents) Raise(k RecentKey, to mail.UID) mail.UID {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := max(m.new[k], m.old[k])
	if to <= before {
		return before
	}
	if m.new == nil || len(m.new) >= maxRecents {
		m.new, m.old = map[RecentKey]mail.UID{}, m.new
	}
	m.new[k] = to
	return before
}
