package pack

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Rewrite says what Set.Rewrite does. Keep and Publish are required.
type Rewrite struct {
	Packs []ID
	// Keep reports whether the index refers to the body, at this very location.
	Keep func(Stored) (bool, error)
	// Publish is called with each new pack when it is durable and in the set. It
	// records where the bodies in it are now (see Set.Entries), those that are still
	// referred to, and returns when the index has that durably: the old packs may go.
	Publish func(Pack) error
	Limit   Limit // of reading
}

// Rewritten is what Set.Rewrite did.
type Rewritten struct {
	New     []Pack
	Retired []ID
	// Damaged are the *Damage of what is to be kept and cannot be read, and of
	// stretches that may have held such. Their packs stay in the set with all their
	// octets: repair the bodies from the partner, then rewrite again.
	Damaged []error
}

// Rewrite copies the bodies to be kept, verified by their hash and otherwise as they
// are, into new packs, and then retires the old ones, except those with damage. A
// new pack's bodies are grouped by account again, over all packs given. It holds
// about 64 octets for each entry of the packs given, at most MaxEntries each.
//
// After an error nothing was retired; packs in New that were published are in use,
// one that was not has no body that anything refers to. Errors: ctx's, Keep's,
// Publish's, cluster.ErrFull, cluster.ErrNewer, ErrNoPack.
func (s *Set) Rewrite(ctx context.Context, what Rewrite) (Rewritten, error) {
	r := rewriting{Rewrite: what, set: s}
	err := r.copyAll(ctx)
	if r.out != nil {
		err = errors.Join(err, r.out.Abort())
	}
	for _, o := range r.from {
		o.close()
	}
	if err != nil {
		return r.res, fmt.Errorf("rewrite packs: %w", err)
	}
	var gone []ID
	for _, o := range r.from {
		if !o.damaged {
			gone = append(gone, o.id)
		}
	}
	r.res.Retired = gone
	return r.res, s.Retire(gone...)
}

// rewriting is a Rewrite at work.
type rewriting struct {
	Rewrite
	set  *Set
	from []*origin
	live []kept
	out  *Writer // nil between packs
	last kept    // what was copied last
	res  Rewritten
}

// origin is a pack that is being rewritten.
type origin struct {
	*opened
	damaged bool // must not be retired
}

// kept is an entry that is to be copied.
type kept struct {
	record
	from *origin
}

func (r *rewriting) copyAll(ctx context.Context) error {
	for _, id := range r.Packs {
		if err := r.choose(id); err != nil {
			return err
		}
	}
	slices.SortFunc(r.live, func(a, b kept) int { return compare(a.account, a.body, b.account, b.body) })
	for _, k := range r.live {
		if err := r.Limit.wait(ctx, k.size); err != nil {
			return err
		}
		if err := r.copy(k); err != nil {
			return err
		}
	}
	return r.publish()
}

// choose opens a pack and asks what is to be kept of it.
func (r *rewriting) choose(id ID) error {
	opened, err := r.set.open(id)
	if err != nil {
		return err
	}
	o := &origin{opened: opened}
	r.from = append(r.from, o)
	records, _, holes, err := o.contents() // a damaged table is no loss, without holes
	if err != nil {
		return err
	}
	for _, h := range holes {
		r.damage(o, h)
	}
	for _, rec := range records {
		keep, err := r.Keep(rec.stored(id))
		if err != nil {
			return err
		}
		if keep {
			r.live = append(r.live, kept{rec, o})
		}
	}
	return nil
}

func (r *rewriting) damage(o *origin, why error) {
	o.damaged = true
	r.res.Damaged = append(r.res.Damaged, why)
}

func (r *rewriting) copy(k kept) error {
	if r.last.from != nil && r.last.account == k.account && r.last.body == k.body {
		return nil // it was in two packs, since power went out after another rewrite
	}
	w, raw, err := k.from.listed(k.record)
	if errors.Is(err, cluster.ErrDamaged) {
		r.damage(k.from, err)
		return nil
	} else if err != nil {
		return err
	}
	if r.out == nil {
		if r.out, err = r.set.Create(); err != nil {
			return err
		}
	}
	if err = r.out.copy(w, raw); r.out.Err() != nil {
		return r.out.Err()
	} else if errors.Is(err, cluster.ErrDamaged) {
		r.damage(k.from, err)
		return nil
	} else if err != nil {
		return err
	}
	r.last = k
	if r.out.Full() {
		return r.publish()
	}
	return nil
}

// publish makes the new pack durable and known, if there is one.
func (r *rewriting) publish() error {
	w := r.out
	if w == nil || w.Err() == nil && w.Entries() == 0 {
		return nil
	}
	r.out = nil
	p, err := w.Seal()
	if err != nil {
		return err
	}
	r.res.New = append(r.res.New, p)
	if err := r.Publish(p); err != nil {
		return fmt.Errorf("publish pack %v: %w", p.ID, err)
	}
	return nil
}
