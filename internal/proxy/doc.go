// Package proxy is the front end's client sessions: it owns the client's
// connection, TLS, greeting, log-in, literals, limits and keep-alives, and has
// every command executed by the master of the client's store, to which it keeps a
// stream of package session's frames.
//
// It executes no command, parses no more of one than its boundaries, tag and name,
// and knows no mailbox. What is peculiar to a client protocol is in a dialect.
//
// # A session
//
// One goroutine owns the client's output and the session's state. While a command
// is being answered a second one reads the master's frames, and during IDLE a third
// one reads the client. Between commands there is only the first, and nobody
// listens to the master: that its stream has ended is found at the next command.
//
// # Invariants
//
//   - The token is what the client has been told: the deltas of the units and
//     tagged lines that were written to its connection, in order.
//   - A unit is written whole or not at all. A sign of life is written only
//     between responses.
//   - A command keeps its number and its octets until its tagged line is written;
//     when the stream breaks it is sent again under that number to whoever is
//     master then. What decides whether that is truthful is in policy.go, and only
//     there.
//   - A password is looked at only where the client may send one: under TLS, from a
//     trusted address, or where the site allows it.
//   - A session that cannot go on gets one sentence and a counted reason.
//   - Everything that comes from a client has a bound in octets and in time.
//
// A master that is silent is given up when another one is appointed ([Routes]), not
// after a time of its own: slow is not dead.
package proxy
