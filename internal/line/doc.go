// Package line reads and writes the line protocols mail is spoken in: LMTP,
// IMAP, POP3 and ManageSieve. A [Conn] gives lines, octet-counted literals and
// dot-terminated message data from one net.Conn, each with a bound in octets and
// in time; [Canon] brings message octets into the form in which they are stored.
//
// It knows no command of any protocol and starts no goroutine.
//
// # Policies
//
//   - A line ends with LF; one CR before it belongs to the end. A bare LF is
//     therefore accepted as the end of a command line. A bare CR never ends
//     anything. Other control octets are given to the caller as they came.
//   - Message data after DATA ends with CRLF "." CRLF and with nothing else, and
//     only CRLF makes the dot after it special. LF "." LF, LF "." CRLF and
//     CRLF "." LF are content: a sender that believes them to be an end cannot
//     smuggle a second transaction past us (RFC 5321 section 4.1.1.4).
//   - What is too long is read to its end and reported; the connection stays in
//     step and usable. Only a peer that keeps sending far beyond the limit is cut
//     off, with [ErrFlood].
//   - A line must be whole within a time after its first octet, and a transfer
//     must keep a minimum rate, so that "one octet a minute" does not hold a
//     connection.
//   - STARTTLS discards every octet received in the clear (RFC 3207 section 4.2).
//
// Time comes from the deadlines of the net.Conn and from package time, so inside
// a testing/synctest bubble with net.Pipe all of it is virtual.
//
// # Concurrency
//
// One goroutine reads and one writes; they may be two only if Config.AutoFlush is
// off. [Conn.Interrupt] and [Conn.Close] may be called from anywhere.
package line
