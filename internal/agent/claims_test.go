package agent

import (
	"fmt"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/coord/memory"
)

// TestSlotsOfAWipedCoordinatorClaimWhatTheyKnow: none is opened, and none forgotten.
func TestSlotsOfAWipedCoordinatorClaimWhatTheyKnow(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.write(newStore("s1", "m1"))
		s.lead("m1", "s1")
		n := s.agents["m1"]
		if st := n.Status(); len(st.Claims) != 0 || st.Slots[0].CoordRev < st.Slots[0].Rev {
			t.Errorf("while it runs: %+v", st)
		}
		before := s.read("s1")
		n.stop()
		n.client = memory.NewServer(memory.Config{}).Client()
		n.start("m1")
		s.within(time.Minute, func() error {
			st := n.Status()
			if len(st.Claims) != 1 || len(st.Slots) != 0 {
				return fmt.Errorf("status %+v", st)
			}
			c := st.Claims[0]
			if c.Store != "s1" || c.Slot != slotID(1) || c.Record.Epoch != before.Epoch || c.Rev == 0 || c.CoordRev < c.Rev {
				return fmt.Errorf("claim %+v", c)
			}
			return nil
		})
	}, "m1")
}
