// Package pack keeps message bodies at rest: immutable files on the spool disk,
// each copy's own business. No file, place or choice of codec is replicated or
// digested; two copies of a store pack the same bodies differently.
//
// A pack is written once, front to back, and has its name only when every octet of
// it is durable, so that a loss of power leaves the whole pack or none of it. Each
// body in it says for itself whose it is, what its octets hash to and how they are
// stored, so that [Scan] reads a pack with nothing else, also around damage. A
// table of contents at the end serves only the [Set]. docs/format/pack.md
// describes each octet.
//
// It is not the index: which body is where ([Location]), and whether anything still
// refers to it, is for the caller to know. It decides neither when a body is moved
// nor when a pack is worth collecting, and it repairs nothing.
//
// # Driving it
//
// The mover, for each sealed journal segment that is committed and applied: list
// the bodies in it that are still referenced, sort them by [Entry.Compare], then
// [Set.Create], [Writer.Add] each, [Writer.Seal]. In the applier's own batch it
// then writes the location of every body that is referenced still, and counts the
// others as dead from the start. When the index is flushed past that batch the
// segment may be trimmed. A body that Add refuses with [ErrContent] is damaged in
// the journal: leave it there, report it, go on. Any other error: [Writer.Abort],
// try again later; the bodies are still in the journal.
//
// A reader looks up the location in its snapshot of the index and calls
// [Set.Body], which pins the pack. [ErrNoPack] means that the body was moved after
// the snapshot was taken: look again in a fresh one. [Set.Pin] keeps the packs of a
// snapshot that is to be read for longer.
//
// Collection: the caller counts, by [Location.Size], what each pack holds that
// nothing refers to; [Pack] says how large it is. [Set.Rewrite] copies what is alive
// out of some packs into new ones, lets the caller record the new locations
// durably, and only then retires the old. A pack without anything alive is given to
// [Set.Retire], once the index that says so is flushed. Never on both copies of a store at
// once: a body that turns out damaged is repaired from the partner, by adding it to
// a new pack.
//
// [Set.Scrub] reads everything again, now and then. After the index was lost,
// [Set.Entries] of every pack gives the locations again; of a body that is in two
// packs, since power went out during a collection, either will do.
//
// # Memory
//
// A Set holds a summary of each pack and nothing of a body; its [Decoder] is best
// shared by all sets of a process. A [Writer], and whatever goes through the contents
// of a pack, holds 48 octets for each entry, of which there are at most [MaxEntries],
// and a few MiB more. An open [Body] holds at most one frame.
//
// Concurrency: any goroutine may call any method of a Set at any time. A Writer
// belongs to one goroutine; several Writers may be at work. A Body is read by any number of
// goroutines and closed once, after them. No lock is held during I/O.
package pack

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// Limits of the format.
const (
	// MaxEntries is the most bodies in one pack.
	MaxEntries = 1 << 16
	// FrameSize is how many plain octets of a body are encoded and checked together.
	FrameSize = 256 << 10
	// MaxHeader is the most octets before the frames of a body: room for the owners.
	MaxHeader = 1 << 20
	// MaxLength is the longest body in octets.
	MaxLength = 1 << 40
)

var (
	// ErrNoPack: the set has no such pack; it was retired, or there never was one.
	ErrNoPack = errors.New("no such pack")
	// ErrContent: octets given to be stored are not those of the entry.
	ErrContent = errors.New("octets are not those of the body")
	// ErrOrder: the entry does not come after the one before it.
	ErrOrder = errors.New("body out of order")
	// ErrTooLarge: the entry exceeds a limit of the format.
	ErrTooLarge = errors.New("too large for a pack")
	// ErrEmpty: there is nothing to seal.
	ErrEmpty = errors.New("pack without a body")
)

// ID names a pack for ever. It is drawn at random, and everything in the file
// carries it, so that octets of a message cannot pass for an entry.
type ID uint64

// String is 16 hexadecimal digits.
func (i ID) String() string { return fmt.Sprintf("%016x", uint64(i)) }

const (
	packSuffix      = ".pack"
	temporarySuffix = ".tmp"
)

func (i ID) fileName() string { return i.String() + packSuffix }

// ParseName returns the pack that a file is by its name; false if it is none.
func ParseName(name string) (ID, bool) {
	hex, ok := strings.CutSuffix(name, packSuffix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	return ID(n), err == nil && ID(n).fileName() == name
}

// drawID reads an id that is not 0.
func drawID(random io.Reader) (ID, error) {
	var b [8]byte
	for {
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return 0, fmt.Errorf("draw pack id: %w", err)
		}
		if id := ID(le.Uint64(b[:])); id != 0 {
			return id, nil
		}
	}
}

// Location is where a body is: [Offset, Offset+Size) of a pack.
type Location struct {
	Pack   ID
	Offset int64
	Size   int64
}

// Damage says where stored octets are not what was written, or cannot be read.
// errors.Is(err, cluster.ErrDamaged) holds.
type Damage struct {
	Pack   ID
	Body   mail.BodyID // 0 if it is not known whose octets they are
	Offset int64       // in the file
	Size   int64       // octets that are lost, about
	Why    error
}

func (d *Damage) Error() string {
	if d.Body == 0 {
		return fmt.Sprintf("pack %v damaged at %d: %v", d.Pack, d.Offset, d.Why)
	}
	return fmt.Sprintf("pack %v damaged at %d, body %d: %v", d.Pack, d.Offset, d.Body, d.Why)
}

// Unwrap makes both the sentinel and the reason visible to errors.Is.
func (d *Damage) Unwrap() []error { return []error{cluster.ErrDamaged, d.Why} }
