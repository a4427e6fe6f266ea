// Package peers sets Cyrus and Dovecot from Debian's packages beside Tandemail, on this
// host, without installing anything.
//
// TestPeers is a measurement: it gives each the same mailbox, has each do the same IMAP
// commands, and prints tables in Markdown: how long a client waited, and how much
// processor time the server's processes used. docs/performance.md says how to run it.
//
// TestDialogues plays the dialogues that Tandemail's own tests hold it to with the two
// others, so that what a dialogue expects is not just what Tandemail happens to say. Where
// they may differ, a note in the dialogue says so.
package peers
