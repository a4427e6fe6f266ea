package slot

import (
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// Config is all that a slot needs of the world.
type Config struct {
	Cluster string
	Store   cluster.Store
	Slot    cluster.SlotID
	Machine cluster.Machine
	Meta    string // directory on the fast disk, of this slot alone
	Spool   string // directory on the big disk, of this slot alone
	FS      vfs.FS
	Disk    *disk.Disk // of the device Meta is on
	// SpoolDisk is of the device Spool is on; nil if that is Disk.
	SpoolDisk *disk.Disk
	Shared    *index.Shared
	Decoder   *pack.Decoder // of packs; best shared as Shared is. Default: one of its own
	Records   Records
	Peers     Peers
	// Clock counts also while the machine sleeps (CLOCK_BOOTTIME); only its rate matters.
	Clock func() time.Duration
	// Now is the wall clock, for the times that users see.
	Now  func() time.Time
	Rand io.Reader
	Log  *slog.Logger
	// RefuseDegraded refuses writes while only one copy is left.
	RefuseDegraded bool
	// SegmentSize of the journal; 0 is its default.
	SegmentSize int64
	// Hurry is for tests.
	Hurry Hurry
	// Changed is told, without blocking, whenever Status may say something new.
	Changed func()
	// Level is the highest that this build supports; 0 is that it does. Tests say otherwise.
	Level cluster.Level
	// Apply stands in for state.Apply in tests, which make it fail; nil elsewhere.
	Apply ApplyFunc
}

// Hurry replaces the periods and sizes of work in the background; 0 is what the
// constants say.
type Hurry struct {
	Move, Collect, Scrub, Repair time.Duration
	AnyTurn                      bool          // collect also when it is another copy's turn
	Save                         time.Duration // and whenever there is something new
	Reach                        cluster.LSN   // of trimming
	Wait, Leave                  time.Duration
	NoPause                      bool // see index.Config
}

func (cfg *Config) spoolDisk() *disk.Disk {
	if cfg.SpoolDisk != nil {
		return cfg.SpoolDisk
	}
	return cfg.Disk
}

// ApplyFunc is the shape of state.Apply.
type ApplyFunc func(kv state.KV, at cluster.LSN, level cluster.Level, op *operation.Operation) (state.Outcome, error)

// Records is the store's record in the coordinator.
type Records interface {
	// Read reads the record, linearizably. Rev 0: there is none.
	Read(ctx context.Context) (rec cluster.StoreRecord, rev, coordRev cluster.Rev, err error)
	// Swap writes next if the record is still at rev. ok false with no error: it
	// was not. An error leaves the outcome unknown.
	Swap(ctx context.Context, rev cluster.Rev, next cluster.StoreRecord) (ok bool, newRev cluster.Rev, err error)
}

// Peers is what a slot needs of the other machines.
type Peers interface {
	// Dial opens a connection to a slot of store s on machine m, of its own and
	// authenticated.
	Dial(ctx context.Context, m cluster.Machine, s cluster.Store, from, to cluster.SlotID) (net.Conn, error)
	// DialSeed is Dial for the conversation in which slot from becomes a copy of slot to.
	DialSeed(ctx context.Context, m cluster.Machine, s cluster.Store, from, to cluster.SlotID) (net.Conn, error)
	// Body asks slot to of store s on machine m for a stored body, within ctx. Its octets
	// may be any: who reads them compares their hash.
	Body(ctx context.Context, m cluster.Machine, s cluster.Store, from, to cluster.SlotID, id mail.BodyID) (io.ReadCloser, error)
	// MayGoAlone asks whether the master here may go on without slot id, on m.
	MayGoAlone(ctx context.Context, m cluster.Machine, id cluster.SlotID) replica.Verdict
}

// storeID is the store's mark in journals: no journal of another store or
// cluster can be taken for this one's.
func storeID(clusterID string, s cluster.Store) [16]byte {
	sum := sha256.Sum256([]byte("tandemail store\x00" + clusterID + "\x00" + string(s)))
	return [16]byte(sum[:16])
}
