// Package pki is the cluster's own certificate authority and the identity of its
// machines: who may speak on the internal port.
//
// A machine is known by its public key. Its certificate, signed by the cluster's
// CA, only carries the key and the machine's name; whether that key is that
// machine's is asked of the membership at every handshake (see [Allowed]), so a
// machine is shut out by striking its key. Certificates are renewed every half year,
// but nobody is cut off because a date has passed: the internal port looks at none,
// and the date in a certificate, which the coordinator's library enforces, is the
// CA's. [Identity.RenewBy] is there for a warning. That library verifies by
// [HostName], and refuses what [WriteStruck] lists.
//
// Machines believe one CA, and two while one takes the other's place ([Successor]):
// every machine believes the new one before any is certified by it, and forgets the
// old one when all are. Each step on files may be repeated, and be cut short by a
// crash.
//
// Files, in a directory of their own (mode 0700), each written atomically:
//
//	ca.crt       the certificates of the CAs that are believed, on every machine
//	ca.key       the key of one of them (0600), only where certificates are issued
//	next.key     the key of the CA that takes its place (0600), there and meanwhile
//	machine.key  the machine's key (0600); it never leaves the machine
//	machine.crt  the machine's certificate
//	struck.crl   the keys that the coordinator's member here refuses
//
// Keys are ECDSA P-256, files are PEM, TLS is 1.3 and mutual.
//
// Not here: certificates that mail clients and MTAs see.
package pki
