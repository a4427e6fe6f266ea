// Package lmtpd is an LMTP server (RFC 2033, with the parts of RFC 5321 it
// builds on): the protocol between the MTA and a [Backend], which decides about
// senders and recipients and delivers. It knows no user, store or slot.
//
// Extensions: PIPELINING, 8BITMIME, SMTPUTF8, CHUNKING (RFC 3030, without
// BINARYMIME), SIZE (RFC 1870), ENHANCEDSTATUSCODES, STARTTLS when there is a
// certificate, and Postfix's XFORWARD for trusted peers.
//
// # What holds
//
//   - Message data ends at CRLF "." CRLF only; see package line. The message is
//     handed over in canonical octets, once, whole, with the digest of the octets
//     as they came.
//   - After message data there is one reply a recipient that was accepted, in the
//     order of RCPT, each sent when it and those before it are known.
//   - An error without an entry in the table is 451: a bug never bounces mail. The
//     client gets one plain sentence, the log the chain.
//   - After the replies to a message, exactly one of Confirm and Abandon follows.
//     Confirm means that the MTA has the replies: it sent something that it cannot
//     have sent before them, or it said QUIT ahead of them (RFC 2920) and its
//     kernel then acknowledged all our octets and closed in order.
//   - Memory is bounded: a connection holds its buffers and at most
//     Config.MessageMemory of a message (while it grows, up to twice that); the
//     rest goes to files in a directory of bounded size.
//
// # Concurrency
//
// A connection has one goroutine, and a second one while [Session.Data] runs. The
// calls to one Session never overlap.
package lmtpd
