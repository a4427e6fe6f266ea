package slot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/state"
)

// openContent gives messages' contents as a snapshot places them. A content outlives
// the snapshot: it pins what it reads, or finds out where that went.
func (inc *incarnation) openContent(snap *snapshot) state.OpenFunc {
	return func(_ context.Context, msgs []mail.Message) []mail.Opened {
		list := make([]mail.Opened, len(msgs))
		ids := bodiesIn(msgs)
		kept, err := state.Bodies(snap, ids)
		for i := range msgs {
			if list[i].Err = err; err == nil {
				list[i].Content, list[i].Err = state.Compose(&msgs[i], func(id mail.BodyID) (mail.Content, error) {
					at, _ := slices.BinarySearch(ids, id)
					k := &kept[at]
					if k.Err != nil {
						return nil, k.Err
					}
					return inc.openBody(id, k.BodyRecord, k.Location)
				})
			}
		}
		return list
	}
}

// bodiesIn are the bodies that messages are made of, ascending.
func bodiesIn(msgs []mail.Message) []mail.BodyID {
	ids := make([]mail.BodyID, 0, len(msgs))
	for i := range msgs {
		for _, e := range msgs[i].Extents {
			ids = append(ids, e.Body)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// bodyTries is how often a body is looked for again because it was moved since its
// place was looked up. A collection takes minutes, so that even twice is rare.
const bodyTries = 8

// openBody opens a body at a place, or where it is now if that was given up.
func (inc *incarnation) openBody(id mail.BodyID, rec state.BodyRecord, at state.Location) (mail.Content, error) {
	for range bodyTries {
		if !at.InPack() {
			return inc.openChunks(id, rec, at), nil
		}
		c, err := inc.openPacked(id, rec, at)
		if !errors.Is(err, pack.ErrNoPack) {
			return c, err
		}
		was := at.Pack
		if at, err = inc.whereNow(id); err != nil {
			return nil, err
		}
		if at.Pack == was {
			inc.noteNowhere(state.Located{Body: id, Location: at})
			return nil, fmt.Errorf("body %d is nowhere: %w", id, mail.ErrCorrupt)
		}
	}
	inc.noteBody(id, packName(at), errGone)
	return nil, fmt.Errorf("body %d: %w: %w", id, mail.ErrCorrupt, errGone)
}

// whereNow looks a body up in the newest state. mail.ErrNoMessage: nothing refers to
// it any more.
func (inc *incarnation) whereNow(id mail.BodyID) (state.Location, error) {
	snap, err := inc.snapshot()
	if err != nil {
		return state.Location{}, err
	}
	defer snap.release()
	at, ok, err := state.ReadLocation(snap, id)
	if err == nil && !ok {
		err = fmt.Errorf("body %d: %w", id, mail.ErrNoMessage)
	}
	return at, err
}

// packedBody is a body in a pack. Its octets are compared with checksums as they are
// read; those of a body of one frame were compared with its hash before.
type packedBody struct {
	*pack.Body
	inc *incarnation
	id  mail.BodyID
	at  pack.Location
}

func packLocation(at state.Packed) pack.Location {
	return pack.Location{Pack: pack.ID(at.ID), Offset: at.Offset, Size: at.Size}
}

func (inc *incarnation) openPacked(id mail.BodyID, rec state.BodyRecord, at state.Location) (mail.Content, error) {
	where := packLocation(at.Pack)
	b, err := inc.packs.Body(id, where)
	if err != nil {
		return nil, inc.packFailed(id, where, err)
	}
	if e := b.Entry(); e.Length != rec.Length || e.SHA256 != rec.SHA256 {
		err := &pack.Damage{Pack: where.Pack, Body: id, Offset: where.Offset, Size: where.Size, Why: errors.New("another body is here")}
		return nil, errors.Join(inc.packFailed(id, where, err), b.Close())
	}
	return &packedBody{b, inc, id, where}, nil
}

// Size implements mail.Content.
func (b *packedBody) Size() int64 { return b.Entry().Length }

// ReadAt implements io.ReaderAt.
func (b *packedBody) ReadAt(p []byte, off int64) (int, error) {
	n, err := b.Body.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.inc.packFailed(b.id, b.at, err)
	}
	return n, err
}

// packFailed says what a failed read means to who reads, and notes damage.
func (inc *incarnation) packFailed(id mail.BodyID, at pack.Location, err error) error {
	switch {
	case errors.Is(err, cluster.ErrStopped):
		return fmt.Errorf("%w: %w", mail.ErrMoved, err)
	case errors.Is(err, cluster.ErrDamaged), errors.Is(err, syscall.EIO):
		inc.noteBody(id, at.Pack.String(), err)
		return fmt.Errorf("%w: %w", mail.ErrCorrupt, err)
	}
	return err
}

// chunkedBody is a body in the journal. When it has gone from there it is in a pack.
type chunkedBody struct {
	mail.Content // as long as the journal has it
	inc          *incarnation
	id           mail.BodyID
	rec          state.BodyRecord

	mu    sync.Mutex
	moved mail.Content
}

func (inc *incarnation) openChunks(id mail.BodyID, rec state.BodyRecord, at state.Location) mail.Content {
	many := len(at.Chunks) > 1
	whole := at.Chunked(func(c state.Placed) io.ReaderAt {
		r := &chunkReader{inc.journal, c.LSN}
		if many {
			return &verifiedChunk{chunkReader: r}
		}
		return r
	})
	b := &chunkedBody{Content: whole, inc: inc, id: id, rec: rec}
	if !many && whole.Size() == rec.Length {
		b.Content = &verifiedBody{Content: whole, sum: rec.SHA256}
	}
	return b
}

// ReadAt implements io.ReaderAt.
func (b *chunkedBody) ReadAt(p []byte, off int64) (int, error) {
	n, err := b.Content.ReadAt(p, off)
	if errors.Is(err, cluster.ErrDamaged) || errors.Is(err, mail.ErrCorrupt) {
		b.inc.noteBody(b.id, "", err)
		err = fmt.Errorf("%w: %w", mail.ErrCorrupt, err)
	}
	if !errors.Is(err, journal.ErrTrimmed) {
		return n, err
	}
	c, err := b.follow()
	if err != nil {
		return 0, err
	}
	return c.ReadAt(p, off)
}

// follow opens the body where it was moved to, once.
func (b *chunkedBody) follow() (mail.Content, error) {
	b.mu.Lock()
	c := b.moved
	b.mu.Unlock()
	if c != nil {
		return c, nil
	}
	at, err := b.inc.whereNow(b.id)
	if err == nil && !at.InPack() {
		err = fmt.Errorf("body %d is said to be in the journal: %w", b.id, mail.ErrCorrupt)
	}
	if err != nil {
		return nil, err
	}
	if c, err = b.inc.openBody(b.id, b.rec, at); err != nil {
		return nil, err
	}
	b.mu.Lock()
	other := b.moved
	if other == nil {
		b.moved = c
	}
	b.mu.Unlock()
	if other != nil {
		return other, c.Close()
	}
	return c, nil
}

// Close implements mail.Content.
func (b *chunkedBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.moved == nil {
		return nil
	}
	return b.moved.Close()
}

// chunkReader reads one chunk of a body where it stands in the journal.
type chunkReader struct {
	journal *journal.Journal
	at      cluster.LSN
}

// ReadAt implements io.ReaderAt.
func (c *chunkReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.journal.ReadPayloadAt(p, c.at, off)
	return n, movedIfStopped(err)
}

// verifiedChunk reads one of many chunks, whose hash covers more than is read: before
// its first octets its batch is compared with its checksum.
type verifiedChunk struct {
	*chunkReader
	good atomic.Bool
}

// ReadAt implements io.ReaderAt.
func (c *verifiedChunk) ReadAt(p []byte, off int64) (int, error) {
	if !c.good.Load() {
		at, _, err := c.journal.Bounds(c.at)
		if err == nil {
			_, err = firstBatch(c.journal, at)
		}
		if err != nil {
			return 0, movedIfStopped(err)
		}
		c.good.Store(true)
	}
	return c.chunkReader.ReadAt(p, off)
}

// movedIfStopped says to who reads that the incarnation has ended.
func movedIfStopped(err error) error {
	if errors.Is(err, cluster.ErrStopped) {
		return fmt.Errorf("%w: %w", mail.ErrMoved, err)
	}
	return err
}

// verifiedBody reads a body that is one chunk, whole and once, and shows
// nothing of it unless its hash is right.
type verifiedBody struct {
	mail.Content
	sum [32]byte

	once   sync.Once
	octets []byte
	err    error
}

// ReadAt implements io.ReaderAt.
func (v *verifiedBody) ReadAt(p []byte, off int64) (int, error) {
	v.once.Do(v.load)
	if v.err != nil {
		return 0, v.err
	}
	if off > int64(len(v.octets)) {
		return 0, io.EOF
	}
	n := copy(p, v.octets[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (v *verifiedBody) load() {
	b := make([]byte, v.Size())
	if _, err := v.Content.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		v.err = fmt.Errorf("read body: %w", err)
		return
	}
	if sha256.Sum256(b) != v.sum {
		v.err = fmt.Errorf("body in the journal: hash mismatch: %w", mail.ErrCorrupt)
		return
	}
	v.octets = b
}
