package pack

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Limit waits until so many octets may be read, at most 1 MiB a call. It returns
// early with an error when ctx ends. Nil means no limit.
type Limit func(ctx context.Context, octets int) error

func (l Limit) wait(ctx context.Context, octets int64) error {
	if l == nil {
		return ctx.Err()
	}
	for ; octets > 0; octets -= windowStep {
		if err := l(ctx, int(min(octets, windowStep))); err != nil {
			return err
		}
	}
	return nil
}

// Scrub reads every entry of every pack again, from the pack with that id on in the
// order of Packs, and compares it with its hash. It yields each entry with nil, or a
// *Damage that says why it cannot be read; what is damaged and no known entry comes
// with a Stored that has the pack alone. Whether a body is still referred to, it does
// not know. Any other error is the last.
func (s *Set) Scrub(ctx context.Context, from ID, limit Limit) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		for _, p := range s.Packs() {
			if p.ID >= from && !s.scrub(ctx, p.ID, limit, yield) {
				return
			}
		}
	}
}

// scrub reads one pack; false to stop.
func (s *Set) scrub(ctx context.Context, id ID, limit Limit, yield func(Stored, error) bool) bool {
	// report yields what is wrong with no known entry; false to stop.
	report := func(err error) bool {
		return err == nil || yield(Stored{Location: Location{Pack: id}}, err) && errors.Is(err, cluster.ErrDamaged)
	}
	o, err := s.open(id)
	if errors.Is(err, ErrNoPack) {
		return true // retired since
	} else if err != nil {
		return report(err)
	}
	defer o.close()
	records, damage, holes, err := o.contents()
	if !report(err) || o.ends != nil && !report(&Damage{Pack: id, Why: o.ends}) || !report(damage) {
		return false
	}
	for _, h := range holes {
		if !report(h) {
			return false
		}
	}
	for _, r := range records {
		if err := limit.wait(ctx, r.size); err != nil {
			return report(fmt.Errorf("scrub: %w", err))
		}
		err := o.check(r)
		if !yield(r.stored(id), err) || err != nil && !errors.Is(err, cluster.ErrDamaged) {
			return false
		}
	}
	return true
}

// listed is the entry that the table of contents says is there, and its header's
// octets, valid until the window moves.
func (s *source) listed(r record) (w *walker, raw []byte, err error) {
	h, raw, err := s.win.header(r.offset)
	switch {
	case err != nil:
	case h.pack != s.id || h.Body != r.body:
		err = fmt.Errorf("body %d of pack %v is here", h.Body, h.pack)
	case h.Length != r.plain || h.Account() != r.account || h.minimum() > r.size:
		err = fmt.Errorf("entry is of %d octets of account %v, the table of contents says otherwise", h.Length, h.Account())
	}
	if err != nil {
		return nil, nil, damaged(err, r.damage(s.id))
	}
	return newWalker(s.win, s.dec, h, r.offset), raw, nil
}

// check reads the entry of a record and compares its hash.
func (s *source) check(r record) error {
	w, _, err := s.listed(r)
	if err != nil {
		return err
	}
	if err = w.verify(); err == nil && w.next != r.offset+r.size {
		err = fmt.Errorf("entry of %d octets, not %d", w.next-r.offset, r.size)
	}
	if err != nil {
		return damaged(err, r.damage(s.id))
	}
	return nil
}

func (r record) damage(id ID) Damage {
	return Damage{Pack: id, Body: r.body, Offset: r.offset, Size: r.size}
}
