// Package peers is a measurement, run as a test: Tandemail, and Cyrus and Dovecot from
// Debian's packages, one after another on this host. It gives each the same mailbox, has
// each do the same IMAP commands, and prints tables in Markdown: how long a client
// waited, and how much processor time the server's processes used. docs/performance.md
// says how to run it.
package peers
