package replica

import (
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Claim is what a slot says of itself when the controller asks.
type Claim struct {
	Slot  cluster.SlotID
	State State
}

// Nominee returns the slot a controller should nominate, given the record and
// the claims of the slots that answered: of the recorded set, the one with the
// longest journal; of equals, the one the record lists first. Only slots that
// could be master and saw nothing newer than the record are considered; a newer
// revision seen by any slot means that the coordinator went back, and nobody is
// nominated.
func Nominee(r cluster.StoreRecord, rev, coordRev cluster.Rev, claims []Claim) (cluster.SlotID, error) {
	var best *Claim
	for _, ref := range r.Slots {
		for i := range claims {
			c := &claims[i]
			if c.Slot != ref.Slot {
				continue
			}
			s := &c.State
			if s.CoordRev > coordRev || (s.Rev > rev && s.Record.Generation >= r.Generation) {
				return cluster.SlotID{}, fmt.Errorf("slot %v has seen revision %d of %d: the coordinator went back", c.Slot, s.Rev, s.CoordRev)
			}
			if !fit(r, s, c.Slot) {
				continue
			}
			if best == nil || longer(s.End, best.State.End) {
				best = c
			}
		}
	}
	if best == nil {
		return cluster.SlotID{}, fmt.Errorf("store %s: no slot of the in-sync set of epoch %d can be nominated", r.Store, r.Epoch)
	}
	return best.Slot, nil
}

func fit(r cluster.StoreRecord, s *State, id cluster.SlotID) bool {
	if s.Frozen != nil || s.Kind != Full || s.Health != Whole || (s.Role != RoleReplica && s.Role != RoleCandidate) {
		return false
	}
	return r.Epoch == 0 || r.IsInSync(id)
}

// longer compares journals as Raft does: newer epoch first, then length.
func longer(a, b cluster.Position) bool {
	if a.Epoch != b.Epoch {
		return a.Epoch > b.Epoch
	}
	return a.LSN > b.LSN
}
