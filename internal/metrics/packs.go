package metrics

import "github.com/tandemail/tandemail/internal/slot"

// packs are the bodies at rest of a copy.
type packs struct {
	files, size, moved, dead, collected, scrubbed, repaired, damaged *family
}

func newPacks(t *table) *packs {
	const store = "store"
	return &packs{
		files:     t.gauge("slot_packs", "Packs that the slot has; 0 while it is not open.", store),
		size:      t.gauge("slot_packs_bytes", "What they take of the spool disk.", store),
		moved:     t.counter("slot_bodies_moved_total", "Bodies that went from the slot's journal to packs.", store),
		dead:      t.counter("slot_bodies_moved_dead_total", "Of them, those that nothing referred to any more when they arrived.", store),
		collected: t.counter("slot_packs_collected_total", "Packs of which the slot gave up what was dead.", store),
		scrubbed:  t.counter("slot_packs_scrubbed_bytes_total", "Octets of the journal and of packs that were read again and compared.", store),
		repaired:  t.counter("slot_bodies_repaired_total", "Damaged bodies that the slot fetched from another copy.", store),
		damaged:   t.gauge("slot_bodies_damaged", "Bodies that the slot is known not to be able to give.", store),
	}
}

func (p *packs) copy(o out, st *slot.PackStats, store string) {
	o.set(p.files, float64(st.Packs), store)
	o.set(p.size, float64(st.Octets), store)
	o.set(p.moved, float64(st.Moved), store)
	o.set(p.dead, float64(st.Dead), store)
	o.set(p.collected, float64(st.Collected), store)
	o.set(p.scrubbed, float64(st.Scrubbed), store)
	o.set(p.repaired, float64(st.Repaired), store)
	o.set(p.damaged, float64(st.Damaged), store)
}
