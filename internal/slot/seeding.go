package slot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
)

// A slot that cannot follow, since its journal ends below what the master's still has,
// or is damaged, makes itself a copy of the master (docs/protocol/seed.md). The copy is
// made beside the old data, in the directories seed: the packs that the master has, the
// newest snapshot, the journal from before it on, and an index made of these, as after
// the loss of one. When it is whole and durable it takes the place of the old data,
// which is set aside. Meanwhile the slot is marked, is not open, and has no part in the
// protocol. What is its own stays its own: id, open counter and promises.

// errSeed: this slot's data is of no use here any more.
var errSeed = errors.New("to be made a copy of the master")

// errNoSource: there is nobody to copy from now. errMember: the store may need what this
// slot has.
var (
	errNoSource = errors.New("no master to copy from")
	errMember   = errors.New("this slot is in the in-sync set")
)

// How long a slot waits after an attempt that failed.
const (
	seedAgainMin = 500 * time.Millisecond
	seedAgainMax = 30 * time.Second
	// leaveTime is how long a member of the set that is to be made anew stays away, so that
	// the master goes on without it. If it does not, the store may need this one.
	leaveTime = 30 * time.Second
)

const (
	seedDir   = "seed"
	wholeFile = "whole"
)

// whole says, in the seed directory on the fast disk, that the copy is complete and
// durable: from then on it is put in place, whatever happens.
type whole struct {
	Aside string      `json:"aside"` // where the old data goes
	From  string      `json:"from"`  // the machine it came from
	Saved cluster.LSN `json:"saved"` // of the snapshot, 0 for none
	End   cluster.LSN `json:"end"`   // of the journal
}

// Reseed wants this slot made a copy of the master, whatever it has. It is refused to a
// slot that may be needed: the master, and the members of the in-sync set. A member
// that knows of damage here leaves the set first, or goes on as it is if it cannot.
func (s *Slot) Reseed() error {
	err := s.spare()
	if errors.Is(err, errMember) && len(s.damaged.list()) > 0 {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("reseed slot: %w", err)
	}
	s.mu.Lock()
	s.toCopy = true
	inc := s.now
	s.mu.Unlock()
	select {
	case s.learned <- struct{}{}:
	default:
	}
	if inc != nil {
		select {
		case inc.dropped <- struct{}{}:
		default:
		}
	}
	return nil
}

// wanted reports whether a person wants this slot made anew.
func (s *Slot) wanted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.toCopy
}

// record is the newest that was seen of the store's, nil if none was.
func (s *Slot) record() *cluster.StoreRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		return nil
	}
	return &s.seen.Record
}

// spare reports why the store may need what this slot has.
func (s *Slot) spare() error {
	rec := s.record()
	switch {
	case rec == nil:
		return fmt.Errorf("the store's record is not known: %w", errNoSource)
	case rec.Master.IsZero() || rec.Master == s.cfg.Slot || !rec.Has(s.cfg.Slot):
		return fmt.Errorf("master is %v: %w", rec.Master, errNoSource)
	case rec.IsInSync(s.cfg.Slot):
		return fmt.Errorf("%w: %w", errMember, errNoSource)
	}
	return nil
}

// fill makes this slot a copy of the master, however long that takes. It returns early
// only with ctx's error.
func (s *Slot) fill(ctx context.Context, why error) error {
	if errors.Is(why, cluster.ErrDamaged) {
		s.log.Error("slot is damaged; it has to be made a copy of the master", "err", why)
	} else {
		s.log.Warn("slot has to be made a copy of the master", "err", why)
	}
	s.showSeeding(why)
	told, begun := "", s.cfg.Clock()
	for pause := seedAgainMin; ; pause = min(2*pause, seedAgainMax) {
		err := s.fillOnce(ctx, why)
		if errors.Is(err, errMember) && s.wanted() && s.cfg.Clock()-begun > cmp.Or(s.cfg.Hurry.Leave, leaveTime) {
			s.log.Warn("slot goes on as it is, since its store did not go on without it", "err", err)
			err = nil
		}
		if err == nil {
			s.mu.Lock()
			s.toCopy = false
			s.mu.Unlock()
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err.Error() != told {
			told = err.Error()
			s.log.Warn("slot is not a copy of the master yet; it is tried again", "err", err)
		}
		s.showSeeding(fmt.Errorf("%w; %w", why, err))
		if errors.Is(err, errNoSource) {
			pause = seedAgainMin
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// showSeeding puts the reason into the status. Until the old data was given up the slot
// has failed: if it was the master, another has to be found.
func (s *Slot) showSeeding(why error) {
	id, err := Inspect(s.cfg.FS, s.cfg.Meta, s.cfg.Spool)
	role, state := replica.RoleFailed, StateFailed
	if err == nil && id.Seeding {
		role, state = replica.RoleSeeding, StateSeeding
	}
	if st := s.Status(); st.State == state && st.Reason == why.Error() {
		return
	}
	s.setStatus(func(st *Status) {
		st.Role, st.State, st.Reason, st.Fault = role.String(), state, why.Error(), nil
	})
}

// fillOnce goes as far as it can.
func (s *Slot) fillOnce(ctx context.Context, why error) error {
	id, err := Inspect(s.cfg.FS, s.cfg.Meta, s.cfg.Spool)
	if err != nil {
		return err
	}
	if id.Seeding {
		var w whole
		err := readSealed(s.cfg.FS, s.cfg.FS.PathJoin(s.cfg.Meta, seedDir), wholeFile, &w)
		if err == nil {
			return s.install(id, w)
		}
		if !errors.Is(err, errAbsent) && !errors.Is(err, cluster.ErrDamaged) {
			return err
		}
	}
	if err := s.spare(); err != nil {
		return err
	}
	w, err := s.copyFrom(ctx, *s.record(), id.Seeding)
	if err != nil {
		return err
	}
	id.Seeding = true
	return s.install(id, w)
}

// begin marks the slot, so that nothing but a whole copy will be opened here again, and
// removes what an earlier copy left. The old index goes: it says nothing that the old
// journal and snapshots do not.
func (s *Slot) begin() error {
	fs := s.cfg.FS
	for _, dir := range []string{s.cfg.Spool, s.cfg.Meta} {
		if err := fs.RemoveAll(fs.PathJoin(dir, seedDir)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove an older copy: %w", err)
		}
		if err := syncDir(fs, dir); err != nil {
			return err
		}
	}
	id, err := Inspect(fs, s.cfg.Meta, s.cfg.Spool)
	if err != nil {
		return err
	}
	id.Seeding = true
	if err := writeIdentity(fs, s.cfg.Meta, s.cfg.Spool, id); err != nil {
		return fmt.Errorf("mark slot: %w", err)
	}
	if err := fs.RemoveAll(fs.PathJoin(s.cfg.Meta, "index")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove old index: %w", err)
	}
	return nil
}
