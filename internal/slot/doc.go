// Package slot is one data set with a role: journal, index, state machine and
// replication protocol put together. It is what implements mail.Account for
// everybody above, and what a store's copies are made of.
//
// A Slot runs these goroutines, all owned by Run:
//
//   - the loop, the only one that drives replica.Core and appends to the
//     journal. It gathers the proposals that wait into one batch (group commit);
//   - the syncer, which makes the journal durable through the disk's scheduler;
//   - the applier, the only writer of the index: it applies committed batches
//     and hands each proposer its outcome;
//   - one reader and one writer for each replication session;
//   - the keeper, which reads, watches and swaps the store's record.
//
// Views read snapshots of the index and never wait for any of them.
//
// Invariants: nothing is acknowledged before the applier has applied it, and
// nothing is applied before the protocol has committed it; a panic in Apply is
// recovered in the applier and fails this slot alone; a failed write or sync
// ends this incarnation and is never retried.
//
// Not here: the directory of users, who should be master (controller), and
// opening slots according to the cluster's record (agent).
package slot
