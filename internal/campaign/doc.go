// Package campaign breaks disks. Each run, drawn by a seed, is a store of two or three
// real slots (journal, index, packs, snapshots, replication) on machines whose file
// systems live in memory and do what a disk does when it fails; clients that deliver,
// append, flag, copy, move and expunge; and some of the faults of [Faults], one after
// the other or at once. Then the faults end, an operator does what the slots' status
// asks for and nothing else, and the run passes if
//
//   - every slot is in sync, undamaged and has the others' digest, within a bound;
//   - every client has its answer;
//   - what was acknowledged is on every copy, by the rules of package e2e/ledger.
//
// Time is virtual (testing/synctest), so that a run of a minute takes about a second;
// what goroutines do at one moment comes in any order, so that a seed repeats the
// faults and not every detail. A run that fails keeps what it had on its disks.
//
// docs/reliability.md has what was run and what came of it.
package campaign
