package remote

import (
	"time"

	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/mail"
)

// Version of the protocol.
const Version = 1

// maxFrame is the largest payload of a frame, in octets: the result of a COPY of as
// many messages as one may name fits.
const maxFrame = 2 << 20

// What a sequence and a message on its way are cut into, and how much of them may be
// under way before the receiver has asked for more.
const (
	batchOctets  = 64 << 10
	batchWindow  = 4
	pieceOctets  = 64 << 10
	pieceWindow  = 8
	firstOctets  = 64 << 10 // of a message, in the answer to Open
	rangeOctets  = 256 << 10
	maxDerivedID = 64 // asked for at once
)

// What a stream may have at the master. A caller never has more asks under way; of the
// rest more is answered busy.
const (
	maxAsks      = 256
	maxViews     = 256
	maxSequences = 256
	maxContents  = 256
	maxBodies    = 1_000 // of one Append
	maxWatches   = mail.MaxMailboxes + 1
	maxStaged    = 256 << 20 // octets of bodies
)

// What all streams of a master may have.
const (
	maxAllViews  = 2_048
	maxAllStaged = 1 << 30
)

const (
	viewIdle    = time.Minute      // a View that nobody asks anything is closed
	viewLife    = 10 * time.Minute // any is
	contentIdle = 5 * time.Minute
	// linger is how long a change is seen through after its stream has ended, so that
	// whoever asks again finds it done and not under way.
	linger = 2 * time.Second

	heartbeat = 2 * time.Second
	silence   = 3 * heartbeat // without a frame the master is taken for dead

	defaultHold = 8 * time.Second
	connIdle    = time.Minute // a connection that nobody uses is closed
	rewatch     = time.Minute // bounds one wait for a change of a route
	derivedWait = 2 * time.Second
	firstPause  = 25 * time.Millisecond
	lastPause   = 500 * time.Millisecond
)

// frames bounds the frames of a stream, at either end.
func frames() link.FramesConfig {
	return link.FramesConfig{MaxFrame: maxFrame, ReadBuffer: 16 << 10, WriteQueue: 512 << 10}
}
