package auth

import (
	"crypto/sha256"
	"time"
)

// memory is a bounded set of fingerprints that end. All live equally long, so
// the oldest is the first to end and the one to give way. Its owner locks.
type memory struct {
	until map[[sha256.Size]byte]time.Time
	order [][sha256.Size]byte // a ring
	next  int
}

func newMemory(size int) *memory {
	return &memory{until: map[[sha256.Size]byte]time.Time{}, order: make([][sha256.Size]byte, 0, size)}
}

func (m *memory) has(f [sha256.Size]byte, now time.Time) bool {
	end, ok := m.until[f]
	return ok && now.Before(end)
}

func (m *memory) add(f [sha256.Size]byte, until time.Time) {
	if _, ok := m.until[f]; ok {
		m.until[f] = until
		return
	}
	if len(m.order) < cap(m.order) {
		m.order = append(m.order, f)
	} else {
		delete(m.until, m.order[m.next])
		m.order[m.next] = f
		m.next = (m.next + 1) % len(m.order)
	}
	m.until[f] = until
}
