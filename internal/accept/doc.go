// Package accept runs the accept loop of a server: it takes connections from a
// listener, bounds how many there are in all and of one address, runs each in a
// goroutine of its own, and ends them in order. It knows no protocol.
//
// # Policies
//
//   - A connection over a limit is told so in the words of the protocol, in one
//     write that cannot block, and closed; those that are there go on. The log
//     gets one line for many of them.
//   - An error of accepting is temporary (out of descriptors, a peer that was gone
//     already) unless the listener is closed: the loop pauses, 5 ms at first and
//     1 s at most, and goes on. It neither spins nor ends.
//   - At the end no more is accepted, connections are asked to end, and those that
//     have not when [Config.Drain] is over are closed.
//
// Addresses are counted as a subscriber has them: an IPv4 address, or the /64 of an
// IPv6 one. Those of this machine are not, unless [Config.Exempt] says otherwise.
//
// # Concurrency
//
// All methods may be called from anywhere; several listeners may be served at a time.
package accept
