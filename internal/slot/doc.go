// Package slot is one data set with a role: journal, index, state machine and
// replication protocol put together. It is what implements mail.Account for
// everybody above, and what a store's copies are made of.
// docs/format/slot.md describes its files.
//
// A Slot lives through incarnations, one an open. An incarnation runs these
// goroutines, all owned by Run:
//
//   - the loop, the only one that drives replica.Core and appends to the
//     journal. It gathers the proposals that wait into one batch (group commit);
//   - the syncer, which makes the journal durable through the disk's scheduler;
//   - the applier, the only writer of the index: it applies committed batches
//     and hands each proposer its outcome;
//   - the flusher, which flushes the index now and then;
//   - one reader and one writer for each replication session;
//   - the keeper, which writes the epoch file and asks the coordinator;
//   - the saver, which writes a snapshot of the state to the big disk now and then;
//   - the purger, which on a serving master proposes to remove what is due;
//   - the mover, which takes bodies out of sealed segments of the journal into
//     packs, collects packs, and trims the journal; it has the applier note where
//     bodies are now;
//   - the scrubber, which reads packs again now and then;
//   - while another slot becomes a copy of this one, one that sends it everything.
//
// A slot whose data is too old or damaged is not open but being filled: it makes
// itself a copy of the master (docs/protocol/seed.md).
//
// The loop waits for nobody: what others post to it is bounded, and what it tells
// them is one value that the newest replaces.
//
// Invariants:
//
//   - Nothing is acknowledged before the applier has applied it, and nothing is
//     applied before the protocol has committed it.
//   - A proposal is answered exactly once, at every kind of end; the table at
//     proposal says with what.
//   - A failed write or sync ends the incarnation and is never retried.
//   - An operation that cannot be applied, panics included, fails this slot alone.
//     The batches before its own are applied. A serving master goes on to serve
//     reads, refuses writes and says that it failed, so that a copy that fares
//     better may take over.
//   - An operation that the store's record gives up is applied by no copy, however
//     often and from wherever it applies the journal.
//   - A View ends with its incarnation: nobody who holds one can keep a slot from
//     closing. It answers mail.ErrMoved from then on.
//   - A body is where its location says, durably, before the location says so, and
//     what a location of a flushed index may name is kept. Where a body is is no
//     change of the state: each copy moves for itself, in no order with operations.
//   - A body that cannot be read costs itself alone and is in Status.
//   - Of the journal no octet is given up that this copy may need to make its index
//     again, or that is a body's only place.
//   - A slot that is being filled has no part in the protocol, and its old data goes
//     only when the new is whole and durable.
//   - New octets are refused while this slot's disks or those of a required copy
//     are above the watermark; what removes or moves is not.
//
// Views read snapshots of the index and never wait for a writer.
//
// Not here: the directory of users, who should be master (controller), and
// opening slots according to the cluster's record (agent).
package slot
