// Package link is the one internal port: mutual TLS between the machines of a
// cluster, and on it streams, frames and requests. The wire format is in
// docs/protocol/link.md.
//
// Two kinds of connection share the port, told apart by ALPN:
//
//   - tandemail-mux/1: yamux, many streams on a connection. For what is mostly
//     idle and many: client sessions, agents' questions. [Pool] keeps up to two
//     connections to a peer and opens streams on them.
//   - tandemail-raw/1: one stream, the connection itself. For what is few and
//     busy: the journal stream ([Dialer.Raw]) and requests ([Calls]).
//
// Both begin with a header that names a service and is answered, so that an
// unknown service is a clear error and not a silence. What follows is the
// service's: octets, or [Frames], or requests in frames ([Caller], [Respond]).
//
// # What holds
//
//   - A handler knows its peer by certificate and membership (package pki), never
//     by address.
//   - Frames have a length bound and a type, and no checksum: TLS authenticates
//     every octet, and what must survive a disk has its own checksum inside.
//   - Small frames written close together leave in one TLS record. The goroutine
//     that writes exists only while there is something to write, so an idle
//     stream costs none.
//   - A call that was not sent is told apart from one whose outcome is unknown.
//   - Every queue is bounded: writes wait, with the caller's context, when the
//     peer does not read; a peer that does not read for Config.WriteTimeout loses
//     its connection. Garbage costs its connection, and nobody else's.
package link
