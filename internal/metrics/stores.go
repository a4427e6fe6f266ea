package metrics

import (
	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/replica"
)

// stores are what the masters on this machine say of their stores: nobody else
// knows it first hand. A store has one such value in the cluster, and a second only
// while a deposed master has not heard of it.
type stores struct {
	copies, inSync, degraded, streaming, lag *family

	read func() []agent.SlotStats
}

func newStores(t *table, s Sources) *stores {
	const store = "store"
	return &stores{
		copies:    t.gauge("store_copies", "Copies that the store should have, from its master.", store),
		inSync:    t.gauge("store_in_sync_copies", "Copies that have every acknowledged change, the master's included, from its master.", store),
		degraded:  t.gauge("store_degraded", "1 if only the master of several copies has every acknowledged change.", store),
		streaming: t.gauge("store_replica_streaming", "1 if the copy on that machine follows the master.", store, "machine"),
		lag:       t.gauge("store_replica_lag_bytes", "What the copy on that machine has not on its disk of what the master has on its own; absent unless it follows.", store, "machine"),
		read:      s.Slots,
	}
}

func (s *stores) collect(o out) {
	if s.read == nil {
		return
	}
	for _, st := range s.read() {
		if st.Role != replica.RoleMaster.String() {
			continue
		}
		store, rec := string(st.Store), st.Record
		o.set(s.copies, float64(len(rec.Slots)), store)
		o.set(s.inSync, float64(len(rec.InSync)), store)
		o.flag(s.degraded, len(rec.Slots) > 1 && len(rec.InSync) == 1, store)
		for _, p := range st.Peers {
			s.peer(o, &st, p)
		}
	}
}

func (s *stores) peer(o out, st *agent.SlotStats, p replica.PeerState) {
	machine := st.Record.MachineOf(p.Slot)
	if machine == "" {
		return // the record has changed since
	}
	o.flag(s.streaming, p.Streaming, string(st.Store), string(machine))
	if p.Streaming {
		o.set(s.lag, float64(st.Durable-min(p.Durable, st.Durable)), string(st.Store), string(machine))
	}
}
