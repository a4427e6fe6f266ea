package metrics

import (
	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/slot"
)

// slots are this machine's copies, each by itself.
type slots struct {
	info, role, state, serving, epoch, opens, promotions *family
	low, end, durable, commit, applied, journal, pending *family
	settled                                              *family
	operations, deliveries, batches, holds               *family
	snapshot, snapshotAt                                 *family

	packs *packs

	read func() []agent.SlotStats
}

func newSlots(t *table, s Sources) *slots {
	const store = "store"
	return &slots{
		info:       t.gauge("slot_info", "1, with the id of the store's slot on this machine.", store, "slot"),
		role:       t.gauge("slot_role", "1 for the role that the slot has.", store, "role"),
		state:      t.gauge("slot_state", "1 for the state that the slot is in.", store, "state"),
		serving:    t.gauge("slot_serving", "1 if the slot is the master and takes writes.", store),
		epoch:      t.gauge("slot_epoch", "The store's epoch as the slot knows it; it rises with every change of master.", store),
		opens:      t.counter("slot_opens_total", "How often the slot has been opened since it was made.", store),
		promotions: t.counter("slot_promotions_total", "Epochs that the slot began to serve as master, since the process began.", store),
		low:        t.gauge("slot_journal_low_bytes", "Where the slot's journal begins: what is below was trimmed.", store),
		end:        t.gauge("slot_journal_end_bytes", "The end of the slot's journal.", store),
		durable:    t.gauge("slot_journal_durable_bytes", "The end of what is on the slot's disk.", store),
		commit:     t.gauge("slot_journal_commit_bytes", "The end of what is on the disks of all copies in sync, as the slot knows it.", store),
		applied:    t.gauge("slot_journal_applied_bytes", "The end of what the index has.", store),
		settled:    t.gauge("slot_journal_settled_bytes", "The end of what the copy's index and bodies need of the journal no more; 0 until that is known after an open.", store),
		journal:    t.gauge("slot_journal_held_bytes", "What the journal holds, from its oldest batch to its end; 0 while it is not open.", store),
		pending:    t.gauge("slot_pending_operations", "Operations that wait to be appended or applied.", store),
		operations: t.counter("slot_operations_total", "Operations that the slot took as master.", store),
		deliveries: t.counter("slot_deliveries_total", "Deliveries that the slot decided on as master, one a recipient.", store),
		batches:    t.counter("slot_batches_total", "Batches that the slot appended as master; a batch is what shares a sync.", store),
		holds:      t.histogram("slot_hold_seconds", "How long the slot, as master, held writes until it served again or no more.", store),
		snapshot:   t.gauge("slot_snapshot_bytes", "The position in the journal of the slot's newest snapshot; absent without one.", store),
		snapshotAt: t.gauge("slot_snapshot_timestamp_seconds", "When the slot's newest snapshot was taken; absent without one.", store),
		packs:      newPacks(t),
		read:       s.Slots,
	}
}

// stateLost is the state of a slot that cannot be opened.
const stateLost = "lost"

func slotStates() []string {
	return []string{slot.StateOpening, slot.StateOK, slot.StateCatching, slot.StateSeeding, slot.StateFrozen, slot.StateFailed, stateLost}
}

func slotRoles() []string {
	var all []string
	for r := replica.RoleIdle; r <= replica.RoleEnded; r++ {
		all = append(all, r.String())
	}
	return all
}

func (s *slots) collect(o out) {
	if s.read == nil {
		return
	}
	for _, st := range s.read() {
		s.copy(o, &st)
	}
}

func (s *slots) copy(o out, st *agent.SlotStats) {
	store, state := string(st.Store), st.State
	if st.Lost {
		state = stateLost
	}
	o.set(s.info, 1, store, st.Slot.String())
	o.one(s.role, st.Role, slotRoles(), store)
	o.one(s.state, state, slotStates(), store)
	o.flag(s.serving, st.Serving, store)
	o.set(s.promotions, float64(st.Promotions), store)
	o.set(s.operations, float64(st.Operations), store)
	o.set(s.deliveries, float64(st.Deliveries), store)
	o.set(s.batches, float64(st.Batches), store)
	o.times(s.holds, st.Holds, store)
	o.set(s.pending, float64(st.PendingOps), store)
	o.set(s.journal, float64(st.Journal), store)
	if st.SnapshotLSN > 0 {
		o.set(s.snapshot, float64(st.SnapshotLSN), store)
		o.set(s.snapshotAt, seconds(st.SnapshotAt), store)
	}
	s.packs.copy(o, &st.Packs, store)
	if st.Counter == 0 {
		return // it was never open: nothing is known of its journal
	}
	o.set(s.opens, float64(st.Counter), store)
	o.set(s.epoch, float64(st.Epoch), store)
	o.set(s.low, float64(st.Low), store)
	o.set(s.end, float64(st.End), store)
	o.set(s.durable, float64(st.Durable), store)
	o.set(s.commit, float64(st.Commit), store)
	o.set(s.applied, float64(st.Applied), store)
	o.set(s.settled, float64(st.Settled), store)
}
