// Package mail holds the words of the mail model: accounts, mailboxes, messages,
// UIDs, MODSEQs and flags, and the two interfaces through which every protocol
// server sees a slot: [Account] and [View].
//
// It is vocabulary. It does no I/O, knows no clock and nothing of journals,
// epochs or peers; it imports nothing else of this module. Two implementations
// of Account exist, the replicated slot and the in-memory twin of mailtest; one
// suite, mailtest.Run, holds both to the contracts written here.
//
// The model follows RFC 3501, 9051, 7162 (CONDSTORE, QRESYNC) and 8474 (OBJECTID).
package mail
