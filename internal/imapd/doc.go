// Package imapd executes IMAP commands over a mail.Account: one [Session] for each
// authenticated client. It takes whole commands and gives its answers to a
// session.Sink in units that are forwarded all or nothing.
//
// It is not a server: sockets, TLS, log-in, LOGOUT, literal continuations and
// keep-alives belong to the front end, or to whatever else hosts a Session. It
// knows nothing of slots, epochs or peers.
//
// # Invariants
//
//   - One command of a session at a time, in order. What the client has been told
//     is, at every moment, the deltas of the units given to the sink.
//   - Untagged updates come from one place, sync.go: what the session has not been
//     told is the difference between its picture of the mailbox and a new View.
//     Expunges are announced in the order of their MODSEQs, and only where a client
//     may be told (RFC 9051 7.5.1); flag changes likewise.
//   - Message numbers are those of the session's picture, never of the View.
//   - Every change is a mail.Request whose id is the session, the command's number
//     and a chunk that a repeated command chooses alike, so that the front end may
//     send a command again.
//   - The answer of every command but FETCH, URLFETCH and IDLE is one unit.
//   - What a client has in view follows from what it was told of messages and of
//     expunges, each up to a place in their order, and from nothing else: so
//     [Session.Resume] finds it at another master.
//
// Errors that say nothing about the command (the account has moved, the sink is
// gone) are returned by Execute, see [ReasonOf]; all others become NO in the one
// table of errors.go.
//
// A Session belongs to one goroutine at a time; only EndIdle may be called beside
// Execute. It has at most one goroutine of its own, which follows other users' accounts
// for NOTIFY and touches nothing of the session: Close ends it.
package imapd
