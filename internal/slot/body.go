package slot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// snapshot is one picture of the index. The incarnation closes when the last has
// been released.
type snapshot struct {
	*index.Snapshot
	once sync.Once
	inc  *incarnation
}

func (inc *incarnation) snapshot() (*snapshot, error) {
	if !inc.views.enter() {
		return nil, mail.ErrMoved
	}
	s, err := inc.index.Snapshot()
	if err != nil {
		inc.views.leave()
		return nil, fmt.Errorf("take a picture of the state: %w", err)
	}
	return &snapshot{Snapshot: s, inc: inc}, nil
}

// release lets the picture go. Calling it again is harmless.
func (s *snapshot) release() {
	s.once.Do(func() {
		if err := s.Snapshot.Close(); err != nil {
			s.inc.log.Warn("picture of the state not closed", "err", err)
		}
		s.inc.views.leave()
	})
}

// gate counts who is inside and lets nobody in once it was closed.
type gate struct {
	mu     sync.Mutex
	inside int
	closed bool
	empty  chan struct{} // made by close; closed when nobody is left
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.inside++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.closed && g.inside == 0 {
		close(g.empty)
	}
}

// close lets nobody in any more and returns when everybody has left.
func (g *gate) close() {
	g.mu.Lock()
	g.closed, g.empty = true, make(chan struct{})
	if g.inside == 0 {
		close(g.empty)
	}
	empty := g.empty
	g.mu.Unlock()
	<-empty
}

// openContent gives messages' contents as a snapshot places them. The content
// reads the journal, which outlives the snapshot.
func (inc *incarnation) openContent(snap *snapshot) state.OpenFunc {
	return func(_ context.Context, msg mail.Message) (mail.Content, error) {
		sections, err := state.Sections(snap, msg, func(c state.Placed) io.ReaderAt {
			return &chunkReader{journal: inc.journal, at: c.LSN}
		})
		if err != nil {
			return nil, err
		}
		if len(sections) == 1 && len(msg.Extents) == 1 {
			body, ok, err := state.ReadBody(snap, msg.Extents[0].Body)
			if err != nil {
				return nil, err
			}
			if c, isChunk := sections[0].R.(*chunkReader); ok && isChunk && body.Length == sections[0].Length {
				sections[0].R = &verifiedReader{chunkReader: c, sum: body.SHA256, length: body.Length}
			}
		}
		return state.NewContent(msg.Prefix, sections, nil), nil
	}
}

// chunkReader reads one chunk of a body where it stands in the journal.
type chunkReader struct {
	journal *journal.Journal
	at      cluster.LSN
}

// ReadAt implements io.ReaderAt.
func (c *chunkReader) ReadAt(p []byte, off int64) (int, error) {
	return c.journal.ReadPayloadAt(p, c.at, off)
}

// verifiedReader reads a body that is one chunk, whole and once, and shows
// nothing of it unless its hash is right.
type verifiedReader struct {
	*chunkReader
	sum    [32]byte
	length int64
	once   sync.Once
	octets *bytes.Reader
	err    error
}

// ReadAt implements io.ReaderAt.
func (v *verifiedReader) ReadAt(p []byte, off int64) (int, error) {
	v.once.Do(v.load)
	if v.err != nil {
		return 0, v.err
	}
	return v.octets.ReadAt(p, off)
}

func (v *verifiedReader) load() {
	b := make([]byte, v.length)
	if _, err := v.journal.ReadPayloadAt(b, v.at, 0); err != nil && !errors.Is(err, io.EOF) {
		v.err = fmt.Errorf("read body at %d: %w", v.at, err)
		return
	}
	if sha256.Sum256(b) != v.sum {
		v.err = fmt.Errorf("body at %d: hash mismatch: %w", v.at, mail.ErrCorrupt)
		return
	}
	v.octets = bytes.NewReader(b)
}
