// Package mailtest has what is needed to test whatever stands on mail.Account:
//
//   - [Server], the memory twin of a store: the real state machine over a sorted
//     map, with bodies in memory, no journal and no peers;
//   - [Run], the suite that holds every implementation of mail.Account to its
//     contract.
//
// The twin loses everything when it goes, and never lets go of a body: it is for
// tests. It is safe for concurrent use.
package mailtest
