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
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

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
	n, err := c.journal.ReadPayloadAt(p, c.at, off)
	if errors.Is(err, cluster.ErrStopped) {
		err = fmt.Errorf("%w: %w", mail.ErrMoved, err)
	}
	return n, err
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
	if _, err := v.chunkReader.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		v.err = fmt.Errorf("read body at %d: %w", v.at, err)
		return
	}
	if sha256.Sum256(b) != v.sum {
		v.err = fmt.Errorf("body at %d: hash mismatch: %w", v.at, mail.ErrCorrupt)
		return
	}
	v.octets = bytes.NewReader(b)
}
