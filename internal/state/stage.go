package state

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"sync"

	"github.com/tandemail/tandemail/internal/line"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/message"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// Spool gives files for messages too large for memory. A file is gone when it is closed.
type Spool interface {
	Create() (SpoolFile, error)
}

// SpoolFile is written once, from the start, and then read.
type SpoolFile interface {
	io.Writer
	io.ReaderAt
	io.Closer
}

// Stager takes messages in before they are proposed. Safe for concurrent use.
type Stager struct {
	spool   Spool
	buffers sync.Pool
}

// stageRead is how much is read at once.
const stageRead = 32 << 10

// NewStager returns a Stager; without a spool everything stays in memory.
func NewStager(spool Spool) *Stager {
	return &Stager{spool: spool, buffers: sync.Pool{New: func() any { return new([stageRead]byte) }}}
}

// Staged is a message in its canonical octets, with what a proposer needs to know
// of it. It implements mail.Body. One goroutine at a time.
type Staged struct {
	data   []byte    // all of it, or only the header when there is a file
	file   SpoolFile // nil: in memory
	size   int64
	sum    [32]byte
	placed []Placed // when its chunks are in the journal already
}

var _ mail.Body = (*Staged)(nil)

// Stage reads a message to its end and makes it canonical. More than limit octets
// in canonical form: mail.ErrTooLarge. After any error nothing is kept.
func (s *Stager) Stage(ctx context.Context, r io.Reader, limit int64) (*Staged, error) {
	st := &Staged{}
	if err := s.fill(ctx, st, r, limit); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return st, nil
}

func (s *Stager) fill(ctx context.Context, st *Staged, r io.Reader, limit int64) error {
	buf := s.buffers.Get().(*[stageRead]byte)
	defer s.buffers.Put(buf)
	var canon line.Canon
	sum := sha256.New()
	var out []byte // canonical octets on their way to the file
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("stage message: %w", err)
		}
		n, err := r.Read(buf[:])
		if st.file == nil {
			had := len(st.data)
			st.data = canon.Append(st.data, buf[:n])
			out = st.data[had:]
		} else {
			out = canon.Append(out[:0], buf[:n])
		}
		st.size += int64(len(out))
		if st.size > limit {
			return mail.ErrTooLarge
		}
		if werr := s.keep(st, sum, &out); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			sum.Sum(st.sum[:0])
			return nil
		}
		if err != nil {
			return fmt.Errorf("stage message: read: %w", err)
		}
	}
}

// keep hashes what came and moves on to a file when memory has had its share.
func (s *Stager) keep(st *Staged, sum hash.Hash, out *[]byte) error {
	sum.Write(*out)
	if st.file == nil && (s.spool == nil || len(st.data) <= operation.MaxChunk) {
		return nil
	}
	if st.file == nil {
		file, err := s.spool.Create()
		if err != nil {
			return fmt.Errorf("stage message: %w", err)
		}
		st.file = file
		*out = st.data
		st.data = bytes.Clone(header(st.data))
	}
	if _, err := st.file.Write(*out); err != nil {
		return fmt.Errorf("stage message: %w", err)
	}
	*out = nil // it may be the memory of st.data
	return nil
}

// header is what is before the first empty line, all of b if there is none.
func header(b []byte) []byte {
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		return b[:i+2]
	}
	return b
}

// Size implements mail.Body.
func (st *Staged) Size() int64 { return st.size }

// SHA256 is the hash of the canonical octets.
func (st *Staged) SHA256() [32]byte { return st.sum }

// Header gives the message's header, at least its first MiB.
func (st *Staged) Header() []byte { return header(st.data) }

// Close implements mail.Body.
func (st *Staged) Close() error {
	if st.file == nil {
		return nil
	}
	file := st.file
	st.file = nil
	return file.Close()
}

// Chunks yields the octets in the pieces that go to the journal, in order; at
// least one, which may be empty. A piece may be kept only if the message is in memory.
func (st *Staged) Chunks() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for at := int64(0); at == 0 || at < st.size; at += operation.MaxChunk {
			n := min(operation.MaxChunk, st.size-at)
			if st.inMemory() {
				if !yield(st.data[at:at+n:at+n], nil) {
					return
				}
				continue
			}
			b := make([]byte, n)
			if _, err := st.file.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
				yield(nil, fmt.Errorf("read staged message: %w", err))
				return
			}
			if !yield(b, nil) {
				return
			}
		}
	}
}

// inMemory: the octets are in data; also of a closed message, whose data is all
// that is left.
func (st *Staged) inMemory() bool { return st.file == nil && int64(len(st.data)) == st.size }

// Place tells where in the journal the chunks are, in the order of Chunks. A
// proposal refers to them there instead of bringing them along.
func (st *Staged) Place(chunks []Placed) { st.placed = chunks }

// references are the hashes that decide the thread: the Message-ID's, then those
// of what the message refers to.
func (st *Staged) references() []byte {
	id := message.ProposerFields(st.Header())
	var b []byte
	if id.MessageID != [16]byte{} {
		b = append(b, id.MessageID[:]...)
	}
	for _, r := range id.References[:min(len(id.References), operation.MaxReferences-1)] {
		b = append(b, r[:]...)
	}
	return b
}

// MaxInline is how many octets of bodies one proposal may bring along: more would
// make a batch that others wait for.
const MaxInline = operation.MaxChunk

// Ahead lists the bodies whose chunks must be in the journal, and [Staged.Place]d,
// before the request is proposed: large ones, and all that do not fit together.
func Ahead(bodies ...mail.Body) []*Staged {
	var list []*Staged
	inline := int64(0)
	for _, b := range bodies {
		st, ok := b.(*Staged)
		if !ok || st.placed != nil {
			continue
		}
		if inline+st.size > MaxInline {
			list = append(list, st)
			continue
		}
		inline += st.size
	}
	return list
}
