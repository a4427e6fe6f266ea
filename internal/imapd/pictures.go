package imapd

import (
	"runtime"
	"slices"
	"sync"
	"weak"

	"github.com/tandemail/tandemail/internal/mail"
)

// Pictures has the sessions of a machine that see the same in a mailbox keep its UIDs
// once. Each compares what it has with what another has; nothing else has to be right.
// Use NewPictures.
type Pictures struct {
	least int // runs; fewer are not worth it

	mu   sync.Mutex
	last map[mail.MailboxID]weak.Pointer[commonRuns] // what was shared last of each
}

// commonRuns are of several uidMaps and never change.
type commonRuns struct{ runs []uidRun }

// leastShared is 768 octets of runs.
const leastShared = 64

// NewPictures returns the Pictures of a machine.
func NewPictures() *Pictures {
	return &Pictures{least: leastShared, last: map[mail.MailboxID]weak.Pointer[commonRuns]{}}
}

// share makes what m has of a mailbox common with others that have the same. A nil
// Pictures shares nothing.
func (p *Pictures) share(id mail.MailboxID, m *uidMap) {
	if p == nil || m.common != nil || len(m.runs) < p.least {
		return
	}
	p.mu.Lock()
	c := p.last[id].Value()
	p.mu.Unlock()
	if c == nil || !slices.Equal(c.runs, m.runs) {
		c = &commonRuns{slices.Clip(m.runs)}
		runtime.AddCleanup(c, p.forget, id)
		p.mu.Lock()
		p.last[id] = weak.Make(c)
		p.mu.Unlock()
	}
	m.runs, m.common = c.runs, c
}

// forget is told that nobody has some runs of a mailbox any more.
func (p *Pictures) forget(id mail.MailboxID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last[id].Value() == nil {
		delete(p.last, id)
	}
}
