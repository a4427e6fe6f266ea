// Package pki is the cluster's own certificate authority and the identity of its
// machines: who may speak on the internal port.
//
// A machine is known by its public key. Its certificate, signed by the cluster's
// CA, only carries the key and the machine's name; whether that key is that
// machine's is asked of the membership at every handshake (see [Allowed]), so a
// machine is shut out by striking its key, and no list of revoked certificates
// exists. The dates in a certificate are written, for people and their tools, and
// not enforced: a cluster does not stop because a date has passed or a clock is
// wrong. [Identity.NotAfter] is there for a warning. The exception is the embedded
// coordinator: etcd's library verifies there, with the dates, and by [HostName].
//
// Files, in a directory of their own (mode 0700), each written atomically:
//
//	ca.crt       the cluster's CA certificate, on every machine
//	ca.key       its key (0600), only where certificates are issued
//	machine.key  the machine's key (0600); it never leaves the machine
//	machine.crt  the machine's certificate
//
// Keys are ECDSA P-256, files are PEM, TLS is 1.3 and mutual.
//
// Not here: certificates that mail clients and MTAs see.
package pki
