// Package deliver carries deliveries from a router to the master of a store: the
// wire form, the client that holds while a store has no master, and the handler on
// the master's machine. docs/protocol/deliver.md describes the octets.
//
// A delivery is one transaction's message for all its recipients of one store. It
// may be sent again, to whoever is master then, as often as need be: the
// transaction id makes the first outcome the only one (design: exactly once).
//
// Not here: who the recipients are and what MTAs are told (router), and how a
// delivery is stored (slot).
package deliver
