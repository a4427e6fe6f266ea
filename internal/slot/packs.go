package slot

import (
	"github.com/tandemail/tandemail/internal/pack"
)

const packsDir = "packs"

// openPacks opens the packs of the slot and what is known of their damage.
func (inc *incarnation) openPacks() error {
	if err := inc.damaged.load(inc.cfg.FS, inc.cfg.Spool); err != nil {
		return err
	}
	set, err := pack.Open(pack.Config{
		FS: inc.cfg.FS, Dir: inc.cfg.FS.PathJoin(inc.cfg.Spool, packsDir), Disk: inc.cfg.spoolDisk(),
		Random: inc.cfg.Rand, Decoder: inc.cfg.Decoder,
	})
	if err != nil {
		return err
	}
	inc.packs = set
	return nil
}

// PackStats are what a slot's packs hold and what was done with them since New.
type PackStats struct {
	Packs     int
	Octets    int64 // of their files
	Moved     int64 // bodies that went from the journal to packs
	Dead      int64 // of them, those that nothing referred to any more when they arrived
	Collected int64 // packs that were rewritten or removed
	Scrubbed  int64 // octets that were read again
	Repaired  int64 // bodies that were fetched from another copy
	Damaged   int   // known losses
}

func (s *Slot) packStats() PackStats {
	st := PackStats{
		Moved: s.counts.moved.Load(), Dead: s.counts.dead.Load(), Collected: s.counts.collected.Load(),
		Scrubbed: s.counts.scrubbed.Load(), Repaired: s.counts.repaired.Load(), Damaged: len(s.damaged.list()),
	}
	if inc := s.current(); inc != nil {
		for _, p := range inc.packs.Packs() {
			st.Packs++
			st.Octets += p.Size
		}
	}
	return st
}
