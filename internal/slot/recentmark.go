package slot

import (
	"sync"

	"github.com/tandemail/tandemail/internal/mail"
)

// recents are the marks of \Recent that this master has proposed and that may not be
// applied yet: of two sessions that look at once, one is told of a message first. The
// zero value has none.
type recents struct {
	mu       sync.Mutex
	new, old map[recentKey]mail.UID
}

type recentKey struct {
	account mail.AccountID
	mailbox mail.MailboxID
	user    string
}

// maxRecents is how many are kept in either half. When new is full it becomes old, whose
// marks have been applied long since.
const maxRecents = 4096

// get is the mark that was raised here, 0 if none is known.
func (m *recents) get(k recentKey) mail.UID {
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(m.new[k], m.old[k])
}

// raise raises a mark, and returns what it was.
func (m *recents) raise(k recentKey, to mail.UID) mail.UID {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := max(m.new[k], m.old[k])
	if to <= before {
		return before
	}
	if m.new == nil || len(m.new) >= maxRecents {
		m.new, m.old = map[recentKey]mail.UID{}, m.new
	}
	m.new[k] = to
	return before
}

// accountView is a picture of an account that knows the marks as well.
type accountView struct {
	mail.View
	account mail.AccountID
	recents *recents
}

// Recent implements mail.View.
func (v *accountView) Recent(id mail.MailboxID, user string) (mail.UID, error) {
	u, err := v.View.Recent(id, user)
	return max(u, v.recents.get(recentKey{v.account, id, user})), err
}
