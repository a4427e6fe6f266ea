// Package enrol lets a new machine into the cluster: it makes tokens, and exchanges
// one for a certificate, a record in the membership and what a configuration needs
// (docs/protocol/enrol.md).
//
// What holds:
//
//   - The new machine's key never leaves it. It sends a request for a certificate,
//     and only to a machine that the CA named by the token has certified.
//   - The coordinator knows the hash of a token's secret. The secret itself is in the
//     token, and in no log or error.
//   - The token's use and the machine's record are one transaction: a token is used
//     once more exactly if a machine is let in. The same machine with the same key
//     may ask again, since the first answer may have been lost.
//   - The CA's key goes to a machine whose role is control, and only if the token
//     allows that role.
//
// Not here: the transport (package link), and who may make tokens (the API).
package enrol
