// Package deliver carries deliveries from a router to the master of a store: the
// wire form, the client that holds while a store has no master, and the handler on
// the master's machine. docs/protocol/deliver.md describes the octets.
//
// A delivery is one transaction's message for all its recipients of one store. It
// may be sent again, to whoever is master then, as often as need be: the
// transaction id makes the first outcome the only one (design: exactly once).
//
// What holds:
//
//   - Nothing is answered Done that its store does not have on every in-sync copy.
//   - An error says whether anything may have happened: mail.ErrBusy and
//     mail.ErrFull say no; every other must be taken for "perhaps".
//   - A wait for a master is bounded by the caller's context, and the number of
//     those who wait by Client.Hold: one store without a master does not take the
//     place of all others' mail.
//   - What was decoded is checked in full; octets that are no request cost nothing.
//
// Not here: who the recipients are and what MTAs are told (router), and how a
// delivery is stored (slot).
package deliver
