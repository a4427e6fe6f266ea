package cluster

import (
	"encoding/json"
	"fmt"
	"slices"
)

// SlotRef says where a slot is.
type SlotRef struct {
	Slot    SlotID  `json:"slot"`
	Machine Machine `json:"machine"`
	// Counter is the number of times the slot has been opened, as last told to
	// the coordinator. A slot that comes back with a lower one is an older disk
	// or a clone, and no member.
	Counter uint64 `json:"counter"`
}

// StoreRecord is the whole truth about who may write a store. It is the value
// of one coordinator key and changes only by compare-and-swap on its revision.
type StoreRecord struct {
	Store      Store     `json:"store"`
	Generation uint64    `json:"generation"` // of the cluster: rises when a coordinator is recovered
	Slots      []SlotRef `json:"slots"`      // first the preferred master
	Epoch      Epoch     `json:"epoch"`
	Master     SlotID    `json:"master"`
	// Incarnation of the master that owns Epoch. 0 only before the first master.
	Incarnation Incarnation `json:"incarnation"`
	// InSync are the slots that have every acknowledged write. Never empty once
	// there is a master, and always holding it.
	InSync []SlotID `json:"in_sync"`
	// Forced is the epoch of a forced failover that has not served yet, though later
	// epochs may have begun; 0: there is none.
	Forced Epoch `json:"forced_epoch,omitempty"`
	// Forks are the forced failovers of the store, in order. None is ever taken back:
	// their number says how far the next one has to go to give no number twice.
	Forks []Fork `json:"forks,omitempty"`
	// Nonce is drawn anew for every proposal, so that a proposer who lost the
	// answer recognises its own record.
	Nonce string `json:"nonce"`
	// Want is the slot an operator or the controller asked to be master; zero
	// means no wish. Only the present master acts on it.
	Want SlotID `json:"want"`
	// Skipped are the operations that the store has given up, in the order in which
	// it did. None is ever taken back: a copy must know of each before it applies it.
	Skipped []Skip `json:"skipped,omitempty"`
}

// Clone returns a copy that shares nothing with r.
func (r StoreRecord) Clone() StoreRecord {
	r.Slots = slices.Clone(r.Slots)
	r.InSync = slices.Clone(r.InSync)
	r.Skipped = slices.Clone(r.Skipped)
	r.Forks = slices.Clone(r.Forks)
	return r
}

// Has reports whether id is a slot of the store.
func (r StoreRecord) Has(id SlotID) bool { _, ok := r.Ref(id); return ok }

// Ref returns the reference of slot id.
func (r StoreRecord) Ref(id SlotID) (SlotRef, bool) {
	for _, s := range r.Slots {
		if s.Slot == id {
			return s, true
		}
	}
	return SlotRef{}, false
}

// IsInSync reports whether id is in the recorded in-sync set.
func (r StoreRecord) IsInSync(id SlotID) bool { return slices.Contains(r.InSync, id) }

// MachineOf returns the machine slot id is on, "" if it is none of the store's.
func (r StoreRecord) MachineOf(id SlotID) Machine {
	ref, _ := r.Ref(id)
	return ref.Machine
}

// Validate reports what makes r impossible on its own.
func (r StoreRecord) Validate() error {
	if r.Store == "" || len(r.Slots) == 0 {
		return fmt.Errorf("store record %q: no name or no slots", r.Store)
	}
	seen := map[SlotID]bool{}
	for _, s := range r.Slots {
		if s.Slot.IsZero() || s.Machine == "" || seen[s.Slot] {
			return fmt.Errorf("store record %q: slot %v on %q is empty or named twice", r.Store, s.Slot, s.Machine)
		}
		seen[s.Slot] = true
	}
	if len(r.Skipped) > MaxSkips {
		return fmt.Errorf("store record %q: %d operations given up, at most %d", r.Store, len(r.Skipped), MaxSkips)
	}
	if n := len(r.Forks); n > MaxForks || r.Forced != 0 && (n == 0 || r.Forks[n-1].Epoch != r.Forced) {
		return fmt.Errorf("store record %q: epoch %d is forced, and %d forced failovers are listed, at most %d", r.Store, r.Forced, n, MaxForks)
	}
	if r.Epoch == 0 {
		if !r.Master.IsZero() || len(r.InSync) != 0 {
			return fmt.Errorf("store record %q: master or in-sync set without an epoch", r.Store)
		}
		return nil
	}
	if !seen[r.Master] || r.Incarnation == 0 || !r.IsInSync(r.Master) {
		return fmt.Errorf("store record %q: master %v is no slot, has no incarnation, or is not in its in-sync set", r.Store, r.Master)
	}
	for _, id := range r.InSync {
		if !seen[id] {
			return fmt.Errorf("store record %q: in-sync slot %v is none of its slots", r.Store, id)
		}
	}
	return nil
}

// LegalStep reports why next cannot follow r: the epoch may only rise, a new
// master comes from the old in-sync set unless forced, and within an epoch the
// master and its incarnation stay (design: invariant 7).
func (r StoreRecord) LegalStep(next StoreRecord) error {
	if err := next.Validate(); err != nil {
		return err
	}
	switch {
	case next.Store != r.Store:
		return fmt.Errorf("store record %q became %q", r.Store, next.Store)
	case next.Generation < r.Generation:
		return fmt.Errorf("store %s: cluster generation fell from %d to %d", r.Store, r.Generation, next.Generation)
	case len(next.Skipped) < len(r.Skipped) || !slices.Equal(next.Skipped[:len(r.Skipped)], r.Skipped):
		return fmt.Errorf("store %s: an operation that was given up was taken back", r.Store)
	case !extendsForks(r.Forks, next.Forks):
		return fmt.Errorf("store %s: a forced failover was forgotten", r.Store)
	case next.Epoch < r.Epoch:
		return fmt.Errorf("store %s: epoch fell from %d to %d", r.Store, r.Epoch, next.Epoch)
	case next.Epoch == r.Epoch && r.Epoch != 0 && (next.Master != r.Master || next.Incarnation != r.Incarnation):
		return fmt.Errorf("store %s: epoch %d changed its master", r.Store, r.Epoch)
	case next.Epoch > r.Epoch && r.Epoch != 0 && next.Forced != next.Epoch && !r.IsInSync(next.Master):
		return fmt.Errorf("store %s: master %v of epoch %d was not in the in-sync set of epoch %d", r.Store, next.Master, next.Epoch, r.Epoch)
	}
	return nil
}

// Encode returns r as JSON, the form it has in the coordinator.
func (r StoreRecord) Encode() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // no field can fail to marshal
	}
	return b
}

// DecodeStoreRecord parses and validates the coordinator's value.
func DecodeStoreRecord(b []byte) (StoreRecord, error) {
	var r StoreRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("decode store record: %w", err)
	}
	return r, r.Validate()
}
