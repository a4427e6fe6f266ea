// Package session is the protocol between a front end, which owns the client's
// connection, and the master of the client's account, which executes commands:
// the frames, and the [Token] that says exactly what a client has been told. The
// wire format is in docs/protocol/session.md.
//
// It is not the transport (package link gives streams of frames, one stream a
// session), executes nothing (package imapd does) and holds no connection.
//
// # Invariants
//
//   - A [Unit] is forwarded to the client whole or not at all. What the client has
//     been told is therefore the token at the session's opening with the [Delta] of
//     every forwarded Unit and Done applied in order.
//   - Every unit that changes what the client knows of its mailbox carries its delta.
//   - Commands of a session are numbered from 1, executed one at a time, in order,
//     and end with exactly one Done or with Failed, which ends the session.
//   - Whoever announces expunges announces all of them up to a cut, in order; flags
//     likewise. So two cuts and a UIDNEXT describe the client's picture.
//
// Encoding and decoding keep nothing and may be used from many goroutines.
package session
