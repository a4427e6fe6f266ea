// Package replica is the replication protocol of one slot, as a pure step
// function: primary-backup with a recorded in-sync set (as in PacificA and
// Kafka). docs/protocol/replication.md states the rules and the frames.
//
// It is not the journal, the network, the coordinator or the mail: Core knows
// positions and never octets. It has no goroutine, clock, I/O or randomness, so
// that one seeded loop (package sim) can run a whole cluster of them, and every
// rule has one place in the code and one test that fails without it.
//
// # How to drive a Core
//
// One goroutine owns a Core. It takes one event at a time, calls
//
//	effects := core.Step(clock.BootTime(), event)
//
// and carries the effects out before it steps again. Ordering:
//
//   - Ordered effects are executed one after the other, in the order returned
//     across all steps: AppendRaw, AppendRecord, Truncate, ReadLease, Serve, Hold,
//     StopServing, EndIncarnation, FailSlot. The three journal effects are done
//     inline; their answers (Appended, Truncated) are stepped right after the
//     list, before any other event. ReadLease and StopServing must be visible
//     to readers before any later effect of the list leaves the process.
//   - Send, StartStream, StopStream and StreamAcked are ordered per session and
//     may be queued. A Send may wait behind octets of the same session; it must
//     not overtake an ordered effect before it.
//   - Sync, AdoptEpoch, KeepRecord, KeepCounter, ProposeRecord, ReadRecord, ApplyTo, Locate
//     and AskController are started and answered later by their event. At
//     most one Sync, one ReadRecord and one ProposeRecord is outstanding. ApplyTo
//     supersedes an earlier one. AdoptEpoch and KeepRecord write the same file, in
//     order.
//   - Freeze, Thaw and Told are for people: record them and go on.
//
// The runner gathers proposals while CanAppend returns nil, appends one batch
// to the journal under Epoch and Commit, and steps Appended. It answers a
// client once Applied passed the client's operation, and never NO for what was
// appended. After StopServing what was appended and not answered is answered
// "unknown"; what was only waiting did not happen.
//
// A Tick at least every TickEvery drives every timeout.
//
// # Invariants
//
// The numbered invariants of docs/protocol/replication.md. Within a Core:
// applied <= commit <= durable <= end, adopted never falls, and nothing is sent,
// appended or acknowledged under an epoch that is not durable.
package replica
