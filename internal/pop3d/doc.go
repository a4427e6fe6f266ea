// Package pop3d executes POP3's TRANSACTION and UPDATE states (RFC 1939) over a
// mail.Account: one [Session] for each authenticated client. It takes lines and
// gives its answers to a session.Sink in units that are forwarded all or nothing.
//
// It is not a server: sockets, TLS, log-in, CAPA and AUTH belong to the front end.
// It knows nothing of slots, epochs or peers.
//
// # Invariants
//
//   - The maildrop is INBOX as it was at the log-in: its messages keep their numbers
//     and its answers stay the same, whatever IMAP and deliveries do meanwhile. A
//     message that IMAP has removed since can be listed and not be read.
//   - One session of an account at a time: [Locks].
//   - Nothing is removed before QUIT, which removes all marked messages in one
//     operation under the command's id (more only beyond mail.MaxTouched), so that
//     a repeated QUIT has one effect.
//   - A single line is the command's Done. An answer of several lines is one unit,
//     with the final dot; but RETR and TOP of much give the first line, the rest as a
//     literal with a known length, and the final dot as a unit: so another master
//     goes on at any octet.
//   - What the client was told is the token's: the maildrop as the selected mailbox
//     with its picture, the marks as the saved set.
//
// A Session belongs to one goroutine at a time.
package pop3d
