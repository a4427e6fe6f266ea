package slot

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Identity says which slot a pair of directories holds. It is written in both,
// so that an empty mount, a swapped or an older disk is recognised.
type Identity struct {
	Cluster string         `json:"cluster"`
	Store   cluster.Store  `json:"store"`
	StoreID storeMark      `json:"store_id"`
	Slot    cluster.SlotID `json:"slot"`
	// Opens counts how often the slot was opened. The coordinator knows it too:
	// a slot that comes back with a lower one is an older disk or a clone.
	Opens uint64 `json:"opens"`
	// Seeding is set while a copy of another slot is being written here: the
	// data is worthless alone until it is cleared.
	Seeding bool `json:"seeding,omitempty"`
}

// storeMark is the store's mark in journals, in hexadecimal.
type storeMark [16]byte

// MarshalText implements encoding.TextMarshaler.
func (m storeMark) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, m[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *storeMark) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(m)) {
		return fmt.Errorf("store id %q: want %d hexadecimal digits", b, hex.EncodedLen(len(m)))
	}
	_, err := hex.Decode(m[:], b)
	return err
}

const identityFile = "slot"

// ErrNoSlot: neither directory holds a slot.
var ErrNoSlot = errors.New("no slot here")

// Inspect reads the identity that a slot's two directories agree on. ErrNoSlot
// when both are empty; cluster.ErrDamaged when one is missing or they differ.
func Inspect(fs vfs.FS, meta, spool string) (Identity, error) {
	var m, s Identity
	errM := readSealed(fs, meta, identityFile, &m)
	errS := readSealed(fs, spool, identityFile, &s)
	absentM, absentS := errors.Is(errM, errAbsent), errors.Is(errS, errAbsent)
	switch {
	case absentM && absentS:
		return Identity{}, fmt.Errorf("%s, %s: %w", meta, spool, ErrNoSlot)
	case absentM:
		return s, fmt.Errorf("meta directory %s holds no slot, the spool directory does: not mounted, or lost: %w", meta, cluster.ErrDamaged)
	case absentS:
		return m, fmt.Errorf("spool directory %s holds no slot, the meta directory does: not mounted, or lost: %w", spool, cluster.ErrDamaged)
	case errM != nil || errS != nil:
		return m, errors.Join(errM, errS)
	}
	if m.Slot != s.Slot || m.Cluster != s.Cluster || m.Store != s.Store {
		return m, fmt.Errorf("meta directory %s holds slot %v, spool directory %s slot %v: %w", meta, m.Slot, spool, s.Slot, cluster.ErrDamaged)
	}
	// A stop between the two writes leaves them one apart.
	if m.Opens > s.Opens+1 || s.Opens > m.Opens+1 {
		return m, fmt.Errorf("meta directory was opened %d times, spool directory %d times: one is older: %w", m.Opens, s.Opens, cluster.ErrDamaged)
	}
	m.Opens = max(m.Opens, s.Opens)
	m.Seeding = m.Seeding || s.Seeding
	return m, nil
}

// writeIdentity writes id durably to both directories, spool first.
func writeIdentity(fs vfs.FS, meta, spool string, id Identity) error {
	if err := writeSealed(fs, spool, identityFile, id); err != nil {
		return err
	}
	return writeSealed(fs, meta, identityFile, id)
}

// adopted is the durable memory of the protocol: the highest epoch this slot
// has acted in, and the last record it saw. It never goes back.
type adopted struct {
	Epoch  cluster.Epoch        `json:"epoch"`
	Record *cluster.StoreRecord `json:"record,omitempty"`
	Rev    cluster.Rev          `json:"rev"`
	// CoordRev is the highest revision of the coordinator that was seen.
	CoordRev cluster.Rev `json:"coord_rev"`
}

const adoptedFile = "epoch"

func readAdopted(fs vfs.FS, meta string) (adopted, error) {
	var a adopted
	err := readSealed(fs, meta, adoptedFile, &a)
	if errors.Is(err, errAbsent) {
		return adopted{}, nil
	}
	return a, err
}
