// Package sim runs whole clusters of replica.Core in virtual time, breaks them in
// every way the design names, and asserts the numbered invariants of
// docs/protocol/replication.md after every event.
//
// A World is one single-threaded event loop (simnet.Loop). Core is pure, and all
// randomness comes from one source seeded with Config.Seed, so a run is a
// function of its Config: a failure prints its seed, and
//
//	go test ./internal/sim -run TestSeeds -sim.seed=N -sim.trace
//
// shows the same run event by event.
//
// The parts around the Cores are models: Disk is a journal with a page cache and
// a platter, Coord a compare-and-swap register whose answers are lost, delayed
// or rewound, a controller nominates by replica.Nominee, and clients write, retry
// under one id, and read.
package sim
