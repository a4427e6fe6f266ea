package slot

import (
	"sync"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
)

// pending are the proposals that were appended and not applied yet, in the
// journal's order. The loop adds; the applier looks at them, and takes them only
// when their outcome is in the index: whatever ends it in between, none is lost.
type pending struct {
	mu    sync.Mutex
	items []*proposal
}

// add notes where each proposal of batch b stands in the journal. Proposals
// without an operation are chunks of a body: they are answered here, since their
// operation refers to them.
func (p *pending) add(b journal.Batch, batch []*proposal) {
	at := make([]cluster.LSN, 0, b.Len())
	for lsn := range b.Records() {
		at = append(at, lsn)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pr := range batch {
		n := len(pr.records)
		pr.at, at = at[n-1], at[n:]
		pr.under = b.Epoch
		if pr.op == nil {
			pr.finish(outcome{})
			continue
		}
		p.items = append(p.items, pr)
	}
}

// upTo lists the proposals that stand before lsn.
func (p *pending) upTo(lsn cluster.LSN) []*proposal {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.items[:p.before(lsn):p.before(lsn)]
}

// drop forgets the proposals that stand before lsn: they were answered.
func (p *pending) drop(lsn cluster.LSN) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.items = p.items[p.before(lsn):]
	if len(p.items) == 0 {
		p.items = nil // lets the answered ones go
	}
}

// before counts the proposals before lsn. Called with mu held.
func (p *pending) before(lsn cluster.LSN) int {
	n := 0
	for n < len(p.items) && p.items[n].at < lsn {
		n++
	}
	return n
}

func (p *pending) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.items)
}

// abandon answers everything "unknown": it was appended, so it may happen.
func (p *pending) abandon() {
	p.mu.Lock()
	items := p.items
	p.items = nil
	p.mu.Unlock()
	for _, pr := range items {
		pr.finish(outcome{err: mail.ErrUnknown})
	}
}
