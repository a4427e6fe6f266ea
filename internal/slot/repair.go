package slot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/state"
)

// Repair: a body that is damaged here is fetched from another copy, compared with its
// hash, and stored in a pack of its own. Where it was is left as it is until nothing
// refers to it.
const (
	// repairEvery is when it is tried again, since the other copies may be away.
	repairEvery = 10 * time.Second
	// repairAtOnce bounds the bodies of one attempt; the rest have their turn next.
	repairAtOnce = 100
	// repairTime and repairRate, in octets a second, bound the fetching of one body.
	repairTime = 30 * time.Second
	repairRate = 1 << 20
)

var errGone = errors.New("its pack is gone")

// OpenBody opens a stored body for another copy of the store, whatever this copy's
// role: what a body is never changes, and who asks compares its hash.
// mail.ErrNoMessage: nothing refers to it here. mail.ErrCorrupt: it is damaged here too.
func (s *Slot) OpenBody(id mail.BodyID) (mail.Content, error) {
	inc := s.current()
	if inc == nil {
		return nil, mail.ErrMoved
	}
	snap, err := inc.snapshot()
	if err != nil {
		return nil, err
	}
	defer snap.release()
	rec, ok, err := state.ReadBody(snap, id)
	if err == nil && !ok {
		err = fmt.Errorf("body %d: %w", id, mail.ErrNoMessage)
	}
	if err != nil {
		return nil, err
	}
	at, _, err := state.ReadLocation(snap, id)
	if err != nil {
		return nil, err
	}
	return inc.openBody(id, rec, at)
}

// repair mends what it can of what is damaged. A body that no copy gives now stays on
// the list.
func (m *mover) repair(ctx context.Context) error {
	now := m.cfg.Clock()
	if now < m.mend || !slices.ContainsFunc(m.damaged.list(), func(d Damaged) bool { return d.Body != 0 }) {
		return nil
	}
	m.mend = now + cmp.Or(m.cfg.Hurry.Repair, repairEvery)
	snap, err := m.snapshot()
	if err != nil {
		return err
	}
	defer snap.release()
	list, err := m.broken(snap)
	if err != nil || len(list) == 0 {
		return errors.Join(err, m.review())
	}
	w, err := m.packs.Create()
	if err != nil {
		return err
	}
	var done []relocation
	for _, c := range list {
		at, ok, err := m.mendOne(ctx, w, c)
		if err != nil {
			return errors.Join(err, w.Abort())
		}
		if ok {
			done = append(done, relocationTo(c.Body, at))
		}
	}
	if len(done) == 0 {
		return w.Abort()
	}
	if _, err := w.Seal(); err != nil {
		return err
	}
	if err := m.mended(ctx, done); err != nil {
		return err
	}
	return m.nowhere() // there may have been more than the list takes
}

// mended has the index say where the bodies are now, and forgets their damage.
func (m *mover) mended(ctx context.Context, done []relocation) error {
	// Nobody else moves bodies: each is where it was damaged, or gone.
	if err := m.applier.relocate(ctx, &relocations{list: done, from: func(state.Location) bool { return true }}); err != nil {
		return err
	}
	if _, err := m.flusher.durable(ctx); err != nil {
		return err
	}
	for _, r := range done {
		delete(m.stuck, r.body)
		m.log.Info("a damaged body was fetched from another copy", "lsn", r.body)
	}
	m.counts.repaired.Add(int64(len(done)))
	return m.review()
}

// broken returns damaged bodies that something refers to, in the order of a pack.
func (m *mover) broken(snap *snapshot) (list []*cargo, err error) {
	seen := map[mail.BodyID]bool{}
	for _, d := range m.damaged.list() {
		if d.Body == 0 || seen[d.Body] || len(list) == repairAtOnce {
			continue
		}
		seen[d.Body] = true
		c := &cargo{Entry: pack.Entry{Body: d.Body}}
		ok, err := c.describe(snap)
		if err != nil {
			return nil, err
		}
		at, placed, err := state.ReadLocation(snap, d.Body)
		if err != nil {
			return nil, err
		}
		if !ok || !placed || d.Pack != packName(at) {
			continue // gone, or mended: review forgets it
		}
		if c.at = at; at.InPack() {
			c.Owners = m.ownersIn(packLocation(at.Pack), d.Body)
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *cargo) int { return a.Compare(&b.Entry) })
	return list, nil
}

// packName is how Damaged names the place.
func packName(at state.Location) string {
	if !at.InPack() {
		return ""
	}
	return packLocation(at.Pack).Pack.String()
}

// ownersIn is whose the body is according to the damaged pack, if that says it still.
func (m *mover) ownersIn(at pack.Location, id mail.BodyID) []pack.Owner {
	e, err := m.packs.Describe(id, at)
	if err != nil {
		return nil
	}
	return e.Owners
}

// mendOne stores a body as the first of the other copies that has it gives it. An
// error is w's, or ctx's.
func (m *mover) mendOne(ctx context.Context, w *pack.Writer, c *cargo) (at pack.Location, ok bool, err error) {
	rec := m.Status().Record
	for _, ref := range rec.Slots {
		if ref.Slot == m.cfg.Slot {
			continue
		}
		at, err = m.fetch(ctx, w, ref, c)
		switch {
		case err == nil:
			return at, true, nil
		case w.Err() != nil:
			return at, false, w.Err()
		case ctx.Err() != nil:
			return at, false, ctx.Err()
		}
		m.log.Warn("a damaged body was not fetched; it is tried again", "lsn", c.Body, "machine", ref.Machine, "err", err)
	}
	return at, false, nil
}

func (m *mover) fetch(ctx context.Context, w *pack.Writer, ref cluster.SlotRef, c *cargo) (pack.Location, error) {
	ctx, cancel := context.WithTimeout(ctx, repairTime+time.Duration(c.Length/repairRate)*time.Second)
	defer cancel()
	from, err := m.cfg.Peers.Body(ctx, ref.Machine, m.cfg.Store, m.cfg.Slot, ref.Slot, c.Body)
	if err != nil {
		return pack.Location{}, err
	}
	at, err := w.Add(c.Entry, paced{ctx, from, m.pace})
	return at, errors.Join(err, from.Close())
}

// paced reads no faster than its pace.
type paced struct {
	ctx  context.Context
	from io.Reader
	pace *pace
}

// Read implements io.Reader.
func (p paced) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	if failed := p.pace.take(p.ctx, n); err == nil {
		err = failed
	}
	return n, err
}
