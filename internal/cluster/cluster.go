// Package cluster holds the words of the cluster: machines, slots, stores,
// epochs, positions, and the one record a store has in the coordinator.
//
// It is vocabulary: types, their invariants and the sentinel errors that cross
// package borders. It imports nothing of this module, does no I/O and knows no
// clock. Every id is a type of its own; a bare string or integer never stands
// for one.
package cluster

import (
	"encoding/hex"
	"fmt"
)

// Machine names a host that runs tandemail, e.g. "m1". Unique in the cluster.
type Machine string

// Zone is a failure domain. Two slots of one store are never in one zone.
type Zone string

// Store names a logical mail server that users live on, e.g. "s01".
type Store string

// SlotID identifies one data set on one machine for ever. It is drawn at random
// when the slot is created and written in its meta and its spool directory, so
// that an empty mount, an older disk or a cloned machine is recognised.
// The zero value means "no slot".
type SlotID [16]byte

// IsZero reports whether s names no slot.
func (s SlotID) IsZero() bool { return s == SlotID{} }

// String is 32 lower-case hexadecimal digits, or "-" for the zero value.
func (s SlotID) String() string {
	if s.IsZero() {
		return "-"
	}
	return hex.EncodeToString(s[:])
}

// MarshalText implements encoding.TextMarshaler.
func (s SlotID) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *SlotID) UnmarshalText(b []byte) error {
	if string(b) == "-" || len(b) == 0 {
		*s = SlotID{}
		return nil
	}
	if len(b) != 2*len(s) {
		return fmt.Errorf("slot id %q: want %d hexadecimal digits", b, 2*len(s))
	}
	_, err := hex.Decode(s[:], b)
	return err
}

// Incarnation is one run of one slot's process, drawn at random at every open.
// An epoch belongs to exactly one incarnation of one slot.
type Incarnation uint64

// Epoch is a store's fencing number. It rises whenever a master is appointed,
// also when the same slot is appointed again after a restart. 0 means "none yet".
type Epoch uint64

// LSN is a position in a store's journal: the octet offset since the beginning
// of time. The LSN of a batch or record is that of its first octet; the end of
// a batch is the LSN of the next.
type LSN uint64

// Level selects operations and behaviours, so that two releases give one state.
// It rises only when an upgrade is finished.
type Level uint32

// CurrentLevel is the highest level this build supports.
const CurrentLevel = release + laterLevels

// release is the level of this release.
const release Level = 1

// Chain is the running hash of a journal: SHA-256 over the previous chain and a
// batch's octets. Two copies are equal up to an LSN if their chains there are.
type Chain [32]byte

// String is the first 12 hexadecimal digits: enough to compare by eye.
func (c Chain) String() string { return hex.EncodeToString(c[:6]) }

// MarshalText implements encoding.TextMarshaler: all 64 hexadecimal digits.
func (c Chain) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, c[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Chain) UnmarshalText(b []byte) error {
	if len(b) != 2*len(c) {
		return fmt.Errorf("chain %q: want %d hexadecimal digits", b, 2*len(c))
	}
	_, err := hex.Decode(c[:], b)
	return err
}

// Position is a place in one particular history.
type Position struct {
	LSN   LSN
	Epoch Epoch
	Chain Chain
}

// Rev is the coordinator's revision of a key, the value that compare-and-swap
// compares. 0 means that the key does not exist.
type Rev int64
