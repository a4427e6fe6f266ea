package agent

import (
	"bytes"
	"cmp"
	"os"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/tail"
)

// Status is what this machine's agent reports. Its JSON form is read by machines
// of the release before and after: fields are added, never renamed.
type Status struct {
	Machine cluster.Machine `json:"machine"`
	PID     int             `json:"pid"`
	// Level is the highest that this machine's release supports; 0 is 1.
	Level cluster.Level `json:"level"`
	Slots []SlotStatus  `json:"slots"` // by store and slot
	Lost  []Lost        `json:"lost,omitempty"`
	// Tails are what forced failovers left here, dealt with or not.
	Tails []TailStatus `json:"tails,omitempty"`
	// Claims are of slots that are on the disks here and not open.
	Claims []slot.Claim `json:"claims,omitempty"`
	// Accuses are machines that something here cannot reach now.
	Accuses []cluster.Machine `json:"accuses,omitempty"`
	// SyncAge is how long the oldest sync or write of a disk has been waited for, in
	// nanoseconds: a hanging disk shows here.
	SyncAge time.Duration `json:"sync_age"`
}

// SlotStatus is what a slot says of itself; the fields are those of slot.Status.
type SlotStatus struct {
	Store       cluster.Store       `json:"store"`
	Slot        cluster.SlotID      `json:"slot"`
	Role        string              `json:"role"`
	State       string              `json:"state"`
	Reason      string              `json:"reason,omitempty"`
	Fault       *slot.Fault         `json:"fault,omitempty"`
	Left        bool                `json:"left,omitempty"`
	Incarnation cluster.Incarnation `json:"incarnation"`
	Counter     uint64              `json:"counter"`
	Epoch       cluster.Epoch       `json:"epoch"`
	Serving     bool                `json:"serving"`
	Low         cluster.LSN         `json:"low"`
	End         cluster.LSN         `json:"end"`
	EndEpoch    cluster.Epoch       `json:"end_epoch,omitempty"`
	Durable     cluster.LSN         `json:"durable"`
	Commit      cluster.LSN         `json:"commit"`
	Applied     cluster.LSN         `json:"applied"`
	Record      cluster.StoreRecord `json:"record"`
	Rev         cluster.Rev         `json:"rev"`
	CoordRev    cluster.Rev         `json:"coord_rev"`
	Reaches     []cluster.SlotID    `json:"reaches,omitempty"`
	PendingOps  int                 `json:"pending_ops"`
	SnapshotLSN cluster.LSN         `json:"snapshot_lsn,omitempty"`
	SnapshotAt  time.Time           `json:"snapshot_at,omitzero"`
	Settled     cluster.LSN         `json:"settled"`
	Damaged     []slot.Damaged      `json:"damaged,omitempty"`
}

// TailStatus is a tail's report without its users.
type TailStatus struct {
	Store cluster.Store `json:"store"`
	Name  string        `json:"name"`
	State string        `json:"state"`
	Error string        `json:"error,omitempty"`
	tail.Counts
}

// Lost is a slot that the record says is here and that cannot be opened.
type Lost struct {
	Store cluster.Store  `json:"store"`
	Slot  cluster.SlotID `json:"slot"`
	Why   string         `json:"why"`
}

// Status never waits for a disk or another machine.
func (a *Agent) Status() Status {
	st := Status{Machine: a.cfg.Machine, PID: os.Getpid(), Level: a.cfg.Level, Slots: []SlotStatus{}, SyncAge: a.cfg.Disk.Outstanding()}
	if d := a.cfg.SpoolDisk; d != nil {
		st.SyncAge = max(st.SyncAge, d.Outstanding())
	}
	if a.cfg.Suspects != nil {
		st.Accuses = a.cfg.Suspects()
	}
	for _, r := range a.Tails() {
		st.Tails = append(st.Tails, TailStatus{r.Store, r.Name, r.State, r.Error, r.Counts})
	}
	a.mu.Lock()
	st.Claims = a.unopened()
	for id, r := range a.slots {
		if r.lost != "" {
			st.Lost = append(st.Lost, Lost{r.store, id, r.lost})
			continue
		}
		st.Slots = append(st.Slots, SlotStatus(r.Slot.Status()))
	}
	a.mu.Unlock()
	slices.SortFunc(st.Slots, func(x, y SlotStatus) int {
		return cmp.Or(cmp.Compare(x.Store, y.Store), bytes.Compare(x.Slot[:], y.Slot[:]))
	})
	slices.SortFunc(st.Claims, func(x, y slot.Claim) int {
		return cmp.Or(cmp.Compare(x.Store, y.Store), bytes.Compare(x.Slot[:], y.Slot[:]))
	})
	slices.SortFunc(st.Lost, func(x, y Lost) int {
		return cmp.Or(cmp.Compare(x.Store, y.Store), bytes.Compare(x.Slot[:], y.Slot[:]))
	})
	return st
}

// Frozen reports whether a slot here knows more than the coordinator shows. It never
// waits.
func (a *Agent) Frozen() bool { return a.any(slot.StateFrozen) }

// Opening reports whether a slot here has not compared yet what it knows.
func (a *Agent) Opening() bool { return a.any(slot.StateOpening) }

func (a *Agent) any(state string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.slots {
		if r.lost == "" && r.Slot.Status().State == state {
			return true
		}
	}
	return false
}

// SlotStats are one slot's status and figures.
type SlotStats struct {
	slot.Status
	slot.Stats
	Lost bool // the record says that it is here, and it cannot be opened
}

// Stats never waits for a disk or another machine. There is one slot a store.
func (a *Agent) Stats() []SlotStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]SlotStats, 0, len(a.stores))
	for _, r := range a.stores {
		list = append(list, SlotStats{Status: r.Slot.Status(), Stats: r.Slot.Stats(), Lost: r.lost != ""})
	}
	return list
}

// hangs is how old a sync may be on a disk that is at work.
const hangs = time.Second

// follows reports whether slot id runs there and could become master.
func (s Status) follows(id cluster.SlotID) bool {
	for _, x := range s.Slots {
		if x.Slot == id {
			return s.SyncAge < hangs && x.Role == replica.RoleReplica.String() &&
				x.State != slot.StateFailed && x.State != slot.StateFrozen
		}
	}
	return false
}
