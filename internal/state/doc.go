// Package state is the state machine of a store: what operations do to accounts,
// mailboxes, messages and bodies, kept as records in a sorted key-value space.
//
//   - [Builder] makes operations of requests (the master, before journalling);
//   - [Check] refuses early what is certain to be refused;
//   - [Apply] makes an operation happen, the same on every copy;
//   - [View] is what readers see; [Digest] compares copies.
//
// It is not a database (a [KV] is given: Pebble in a slot, [MapKV] in memory), and
// it knows no journal beyond LSNs. Keys and records: docs/format/state.md;
// operations: docs/format/operations.md.
//
// Invariants:
//   - Apply reads the operation and the records, nothing else: no clock, no
//     randomness, no bodies, no configuration, no Unicode tables, no map order.
//   - One operation draws at most one MODSEQ of an account, one higher than the
//     last; all it changes carries it. An operation without effect draws none.
//   - A mailbox's UIDs and its MODSEQs only rise; its UIDVALIDITY is its own
//     within the account for ever.
//   - Counters, quota and references of bodies equal what counting would give.
//   - A refusal changes nothing but the memory of its id.
//   - The work of one operation is bounded by what it names, see mail.Max*.
//
// Apply is called by one goroutine at a time for one KV. Everything else may be
// called by any goroutine that has a Reader of its own.
package state
