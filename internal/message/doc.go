// Package message reads mail messages for an IMAP server: where the parts are,
// what ENVELOPE and BODYSTRUCTURE say of them, what a section names, what SEARCH
// compares, and what a delivery must know before it is proposed.
//
// It is not a mail composer and stores nothing, and only [WithoutNUL] changes octets,
// of a message that is yet to be stored. It follows
// RFC 5322 and 6532 (headers), 2045-2049, 2231 and 2047 (MIME), and gives what
// RFC 3501, 9051, 3516 (BINARY) and 5256 (SORT, THREAD) want.
//
// Invariants
//
//   - Any octets are a message. The only errors of [Parse] are those of its
//     reader; [ParseBytes] has none. What is broken is read as the most harmless
//     thing that it can be, in the end as one text/plain part.
//   - Offsets are those of the content. Every part's header is followed by its
//     body, children lie inside their parent's body, in order, and never overlap.
//   - Time is linear in the octets. Memory is bounded by the constants in
//     limits.go, whatever the message's size; bodies are never held.
//   - The result is a function of the octets and of [Version] alone.
//
// Lines end with LF, with or without a CR before it; a CR alone is an octet like
// any other. All functions may be called from many goroutines; a [Derived] is
// immutable once it has been made.
package message
