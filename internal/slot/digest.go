package slot

import (
	"context"
	"encoding/hex"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/state"
)

// Digest is of one copy at one position.
type Digest struct {
	LSN      cluster.LSN   `json:"lsn"`
	Chain    cluster.Chain `json:"chain"`
	Sum      string        `json:"sum"`
	Accounts int           `json:"accounts"`
}

// digestWait is how long a digest waits for the position asked for. Nothing
// arrives on an idle store, and then every copy stands at the same place.
const digestWait = 500 * time.Millisecond

// Digest gives the digest of this copy at the first batch border at or after lsn:
// copies asked for the same lsn answer for the same border. If it is not reached
// soon, the answer is for where the copy stands.
func (s *Slot) Digest(ctx context.Context, lsn cluster.LSN) (Digest, error) {
	inc := s.current()
	if inc == nil {
		return Digest{}, errNotOpen
	}
	snap, err := inc.snapshotAt(ctx, lsn)
	if err != nil {
		return Digest{}, err
	}
	defer snap.release()
	pos := snap.snap.Applied()
	sum, err := state.StoreDigest(snap)
	if err != nil {
		return Digest{}, err
	}
	d := Digest{LSN: pos.LSN, Chain: pos.Chain, Sum: hex.EncodeToString(sum[:])}
	for _, err := range state.Accounts(snap) {
		if err != nil {
			return Digest{}, err
		}
		d.Accounts++
	}
	return d, nil
}

// marks are positions at which somebody wants a snapshot.
type marks struct {
	mu   sync.Mutex
	list []mark
}

type mark struct {
	at cluster.LSN
	ch chan *snapshot // buffer of one
}

// reached reports whether a mark is at or below lsn.
func (m *marks) reached(lsn cluster.LSN) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.list {
		if k.at <= lsn {
			return true
		}
	}
	return false
}

// serve gives everybody whose mark was reached a snapshot.
func (m *marks) serve(lsn cluster.LSN, take func() (*snapshot, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rest := m.list[:0]
	for _, k := range m.list {
		if k.at > lsn {
			rest = append(rest, k)
			continue
		}
		if s, err := take(); err == nil {
			k.ch <- s
		}
	}
	m.list = rest
}

func (m *marks) add(at cluster.LSN) mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := mark{at, make(chan *snapshot, 1)}
	m.list = append(m.list, k)
	return k
}

// drop takes a mark back and releases a snapshot that came meanwhile.
func (m *marks) drop(k mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.list {
		if m.list[i] == k {
			m.list = append(m.list[:i], m.list[i+1:]...)
			return
		}
	}
	select {
	case s := <-k.ch:
		s.release()
	default:
	}
}

func (inc *incarnation) snapshotAt(ctx context.Context, lsn cluster.LSN) (*snapshot, error) {
	k := inc.marks.add(lsn)
	timer := time.NewTimer(digestWait)
	defer timer.Stop()
	select {
	case s := <-k.ch:
		return s, nil
	case <-timer.C:
	case <-ctx.Done():
		inc.marks.drop(k)
		return nil, ctx.Err()
	case <-inc.done:
		inc.marks.drop(k)
		return nil, errNotOpen
	}
	inc.marks.drop(k)
	return inc.snapshot()
}
