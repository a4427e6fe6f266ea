// Package ledger decides whether a mail store kept its word. A test writes down
// every change it asked for with what it was told, and every look it took at a
// mailbox; [Check] says what does not fit. It is pure: no clock, no network.
//
// # What it holds against the store
//
//   - An acknowledged change is there, exactly once, in every look that began after
//     the acknowledgement: the message, its octets, its flags, its absence.
//   - A refused change (NO, 5xx) never takes effect.
//   - A change whose answer was lost takes effect once, wholly, or not at all; it
//     may do so late, and when a look has shown the effect, it stays.
//   - UIDVALIDITY is fixed. A UID names one message for ever. UIDNEXT, HIGHESTMODSEQ
//     and a message's MODSEQ never fall; flags never change under one MODSEQ.
//   - Whatever was changed was looked at afterwards; a ledger nobody read proves nothing.
//
// # Deliveries
//
// Each attempt to deliver counts by itself, since identical mail is not the same
// mail: with a attempts acknowledged before a look begins and u attempts without
// answer (a lost connection, or 4xx, after which the MTA tries again) begun before
// it ends, at least a and at most a + u messages of these octets are there. Attempts
// acknowledged during the look raise only the upper bound. So a retry of an
// attempt without answer may add a message or, where the store recognises it, not.
//
// # What a test must keep to
//
// A mailbox other than INBOX belongs to one client that sends one command at a
// time; INBOX only receives deliveries. Each appended message has a token of its
// own. Once the answer to a command was lost, that client leaves every message with
// the tokens concerned alone, so that one question at most is open about each.
// A history that does not keep to this is reported, not judged.
package ledger
