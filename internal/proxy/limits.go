package proxy

import "sync"

// limits count the sessions of each user.
type limits struct {
	most int

	mu    sync.Mutex
	users map[string]int
}

func newLimits(most int) *limits { return &limits{most: most, users: map[string]int{}} }

// userIn counts a session; false if the user has too many already, and then it is
// not counted.
func (l *limits) userIn(user string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users[user] >= l.most {
		return false
	}
	l.users[user]++
	return true
}

func (l *limits) userOut(user string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users[user]--; l.users[user] <= 0 {
		delete(l.users, user)
	}
}
