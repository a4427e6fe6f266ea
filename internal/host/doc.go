// Package host is the master's side of client sessions. It serves the link service
// "session" (docs/protocol/session.md): each stream is one client's session, whose
// commands it gives to an imapd.Session over the account on this machine's slot.
//
// It has no client sockets and knows no passwords: the front end has authenticated
// the client, and mutual TLS the front end.
//
// # Invariants
//
//   - A session is only opened, and a command only begun, while this machine's slot
//     is the master in the epoch of the session's opening. Whoever comes with a
//     higher epoch than the slot's is refused.
//   - A session that comes with a token goes on where the client is, or is refused:
//     imapd.Session.Resume.
//   - Commands of a session run one at a time, beside the goroutine that reads the
//     stream, so that the end of an IDLE or of the front end is seen at once. An
//     idle session has one goroutine.
//   - A panic ends the session it happened in.
//   - Commands are held in memory and, above a size, in the spool directory, both
//     with bounds.
package host
