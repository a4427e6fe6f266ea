// Package imapwire is the syntax of IMAP: it finds where commands end in a stream
// of octets, reads them into plain values and writes the parts that responses are
// made of. RFC 3501 is the base; RFC 9051, 7162 (CONDSTORE), 4731 (ESEARCH), 5182
// (SEARCHRES), 5258 (LIST-EXTENDED), 5819 (LIST-STATUS), 6154 (SPECIAL-USE), 6855
// (UTF8=ACCEPT), 3502 (MULTIAPPEND), 3516 (BINARY), 5032 (WITHIN), 8474 (OBJECTID)
// and 8514 (SAVEDATE) are understood as well.
//
// It is not a server: it knows no mailbox, no state and no connection, and never
// decides whether a command is allowed. Front end, master and dialogue tests share it.
//
// # Layers
//
//   - [Scanner] finds the boundaries: lines and the literals they announce.
//   - [Collector] gathers one whole command with bounds, a [Raw]. Literals above a
//     size are spooled.
//   - [Parse] reads a Raw into a [Command].
//   - The Append functions write. A caller fills one buffer with many of them.
//
// # Policies
//
//   - A line ends with LF, with or without a CR before it.
//   - A literal is announced by the last octets of a line, whatever stands before
//     them: a quoted string cannot hide it, so front end, master and client agree.
//   - Mailbox names are modified UTF-7, strictly, or UTF-8 if the session enabled
//     it; inside, they are UTF-8 in Unicode normal form C.
//   - Everything has a bound, see [Limits]. What is wrong or too much is a
//     [SyntaxError] with one plain sentence: the text of a BAD response.
//
// Parse and the Append functions keep nothing and may be called from many
// goroutines; a Scanner or Collector belongs to one.
package imapwire
