// Package seed is how a slot becomes a copy of another one when the journal no
// longer reaches back far enough: the frames between the two, and the octets of
// files in them. docs/protocol/seed.md tells the dialogue.
//
// It is not the slots: what is sent and where it goes is for their package, which
// pins it at the source, and verifies and installs it at the other end.
//
// A Conn belongs to one goroutine, but for Alive. Memory is bounded by a frame.
package seed

import (
	"errors"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Version is the version of frames this build writes and the only one it reads.
const Version = 1

const (
	// MaxFrame bounds a frame, its length included: a batch of the journal.
	MaxFrame = 8 << 20
	// DataSize is how many octets of a file go into one frame.
	DataSize = 256 << 10
	// Silence is how long a peer may say nothing, or not read: a copy that verifies a
	// pack does not.
	Silence = 2 * time.Minute
	// AliveEvery is how often a source that works and has nothing to say says so.
	AliveEvery = 5 * time.Second
)

// ErrFrame is the error of every malformed or unexpected frame.
var ErrFrame = errors.New("malformed frame")

// Kind tells frames apart.
type Kind uint8

// Kinds of frames. Their payload is a JSON document, but for those of octets.
const (
	KindHello   Kind = iota + 1
	KindAnswer       // to Hello
	KindHave         // asks for what is missing
	KindRound        // answers Have: files follow
	KindFile         // its octets follow
	KindData         // octets of the file
	KindEnd          // of the file
	KindJournal      // batches follow
	KindBatch        // octets of a batch
	KindDone         // the last frame of all
	KindAlive        // means nothing
	KindSorry        // the source gives up
)

// Hello is what the slot that wants to be a copy says first.
type Hello struct {
	Cluster string         `json:"cluster"`
	Store   cluster.Store  `json:"store"`
	Slot    cluster.SlotID `json:"slot"`
}

// Answer is the source's word on a Hello. After a reason nothing follows.
type Answer struct {
	Reason string `json:"reason,omitempty"` // why not
	// Record is the store's, which the source serves as its master, and how much it
	// has, in octets.
	Record   *cluster.StoreRecord `json:"record,omitempty"`
	Rev      cluster.Rev          `json:"rev,omitempty"`
	CoordRev cluster.Rev          `json:"coord_rev,omitempty"`
	Octets   int64                `json:"octets,omitempty"`
}

// Have lists the packs that the copy has, whole and verified: their ids.
type Have struct {
	Packs []string `json:"packs"`
}

// Round says which packs the source has now. Those that the copy lacks follow, each as
// a file; after them, if it is the last round, the snapshot, if there is any, and the
// journal. Otherwise the copy asks again: the source has gone on meanwhile.
type Round struct {
	Last  bool     `json:"last"`
	Packs []string `json:"packs"`
}

// What a file is.
const (
	FilePack     = "pack"
	FileSnapshot = "snapshot"
)

// File announces a file by its name, without a directory.
type File struct {
	What string `json:"what"`
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// End is the hash of all octets of a file, in hexadecimal.
type End struct {
	SHA256 string `json:"sha256"`
}

// Journal says where the batches that follow begin, each where the one before ends.
type Journal struct {
	LSN   cluster.LSN   `json:"lsn"`
	Epoch cluster.Epoch `json:"epoch"`
	Chain string        `json:"chain"` // 64 hexadecimal digits
}

// Done says where the batches end.
type Done struct {
	LSN cluster.LSN `json:"lsn"`
}

// Sorry says why the source cannot go on.
type Sorry struct {
	Reason string `json:"reason"`
}
