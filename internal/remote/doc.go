// Package remote is a mail.Account whose other end is on another machine: a session
// that runs at the master of its own user's store opens another user's mailboxes,
// whose store has its master elsewhere. The octets are in docs/protocol/account.md.
//
// [Server] is the master's end. Each stream of the link service "account" is a
// conversation about one account, which it asks of this machine's slot. [Accounts] is
// the other end: it makes an [Account] of a store and an id, which finds whoever is
// master, and finds the next one after a switch.
//
// It is not a front end's way to a session (packages session, host and proxy) and
// decides nothing about who may see what: the session asks as a user, and the account
// at the other end answers by its own state.
//
// # What holds
//
//   - A change is asked for under its OpID until its outcome is known, at whoever is
//     master then, so that a lost connection and a switch are not seen, and nothing
//     happens twice. Messages to be added stay at hand here until they are.
//   - mail.ErrBusy means that nothing has happened, mail.ErrUnknown that something may
//     have: after an attempt whose outcome is open no later one says less.
//   - A View is of one connection. When that is lost, or the View lay idle, what is
//     asked of it fails with mail.ErrBusy; the content of a message goes on.
//   - A watch outlives connections: after each new one it says "look again".
//   - What one end has open at the other is bounded, in number and in time, and
//     neither end reads ahead of what it granted the other to send.
//   - Octets that are not of this protocol end their stream and hurt nobody else.
//
// Everything exported is safe for concurrent use, but for a View, as mail.View says.
package remote
