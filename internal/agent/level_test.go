package agent

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

func TestSlotsProposeUnderTheClustersLevel(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		var applied atomic.Uint32 // under this level
		n := s.agents["m1"]
		n.stop()
		n.level = 2
		n.apply = func(_ state.KV, _ cluster.LSN, level cluster.Level, _ *operation.Operation) (state.Outcome, error) {
			applied.Store(uint32(level))
			return state.Outcome{Code: state.Cannot}, nil
		}
		n.start("m1")
		s.write(newStore("s1", "m1"))
		s.lead("m1", "s1")
		if n.Status().Level != 2 {
			t.Errorf("status %+v", n.Status())
		}
		want := func(store cluster.Store, level uint32) {
			t.Helper()
			sl, err := n.Slot(store)
			if err == nil {
				err = sl.CreateAccount(t.Context(), ann.String(), 0)
			}
			if err == nil || errors.Is(err, cluster.ErrNotMaster) || applied.Load() != level {
				t.Errorf("store %s: %v, applied under level %d", store, err, applied.Load())
			}
		}
		want("s1", 1)
		s.put(n.client, coord.SettingsKey, coord.Encode(coord.Settings{Level: 2}))
		synctest.Wait()
		want("s1", 2)
		s.put(n.client, coord.SettingsKey, coord.Encode(coord.Settings{}))
		synctest.Wait()
		want("s1", 2) // a coordinator that went back takes nothing away
		other := newStore("s2", "m1")
		other.Slots[0].Slot = slotID(5)
		s.write(other)
		s.lead("m1", "s2")
		applied.Store(0)
		want("s2", 2)
	}, "m1")
}
