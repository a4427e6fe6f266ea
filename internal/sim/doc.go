// Package sim runs whole clusters of replica.Core in virtual time, each on a real
// journal, breaks them in every way the design names, and asserts the numbered
// invariants of docs/protocol/replication.md after every event. That page also
// lists the faults and where each is injected.
//
// A World is one single-threaded event loop (simnet.Loop). Core is pure, the
// journal's file system is simfs, and all randomness comes from one source seeded
// with Config.Seed, so a run is a function of its Config: a failure prints its
// seed, and
//
//	go test ./internal/sim -run TestSeeds -sim.seed=N -sim.trace
//
// shows the same run event by event. -sim.seeds and -sim.from run more of them,
// -sim.mutation-seeds gives each rule that is switched off more time to be missed.
//
// Real are the protocol and package journal: every batch is encoded, chained,
// synced, read back to be sent and applied, cut and recovered by the code that
// runs in production. Models are the rest: the coordinator is a compare-and-swap
// register whose answers are lost, late or of the past; controllers nominate by
// replica.Nominee; epoch file and open counter are durable at once after a delay;
// the state machine gives each operation a number as a mailbox gives UIDs; an
// operator recovers the coordinator, reseeds slots, forces a failover and delivers
// tails again; clients write, retry under one id, and read.
package sim
