package snapshot

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/compress"
	"github.com/tandemail/tandemail/internal/disk"
)

// Config of Write. All but Step are required.
type Config struct {
	FS   vfs.FS
	Dir  string // of snapshots alone; made if it is not there
	Disk *disk.Disk
	Rand io.Reader
	// Step, if set, is called after each few MiB that are durable: the place to wait,
	// or to give up by an error.
	Step func() error
}

// Summary is a snapshot that was written.
type Summary struct {
	Path  string
	Size  int64 // of the file, in octets
	Pairs uint64
}

const writeCategory vfs.DiskWriteCategory = "snapshot"

// Write writes a snapshot of the pairs, which ascend by key, and gives it its name
// when it is durable; then it removes all but the newest two. broken tells, after
// the last pair, whether there should have been more: nothing is kept then, nor
// after any other error. What a crash leaves is removed by the next Write.
func Write(cfg Config, h Head, pairs iter.Seq2[[]byte, []byte], broken func() error) (Summary, error) {
	if err := prepare(cfg); err != nil {
		return Summary{}, fmt.Errorf("write snapshot: %w", err)
	}
	w, err := newWriter(cfg, h)
	if err != nil {
		return Summary{}, fmt.Errorf("write snapshot: %w", err)
	}
	s := Summary{Path: cfg.FS.PathJoin(cfg.Dir, fileName(h.Position.LSN))}
	err = w.all(pairs, broken)
	if err == nil {
		s.Size, s.Pairs = w.out.End(), w.foot.pairs
		err = w.out.Finish()
	}
	if err == nil {
		err = w.out.Name(s.Path)
	}
	if err != nil {
		return Summary{}, fmt.Errorf("write snapshot: %w", errors.Join(err, w.out.Remove()))
	}
	return s, retire(cfg)
}

// prepare makes the directory and removes what a crash left in it.
func prepare(cfg Config) error {
	if err := cfg.FS.MkdirAll(cfg.Dir, 0o700); err != nil {
		return err
	}
	if err := cfg.Disk.SyncDir(cfg.FS, cfg.FS.PathDir(cfg.Dir)); err != nil {
		return err
	}
	names, err := cfg.FS.List(cfg.Dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if strings.HasSuffix(n, temporarySuffix) {
			if err := cfg.FS.Remove(cfg.FS.PathJoin(cfg.Dir, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// retire removes the snapshots that are too many. That is not durable: they may be
// back, and the next Write removes them again.
func retire(cfg Config) error {
	files, err := List(cfg.FS, cfg.Dir)
	if err != nil {
		return err
	}
	for _, f := range files[min(Kept, len(files)):] {
		if err := cfg.FS.Remove(f.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove old snapshot: %w", err)
		}
	}
	return nil
}

type writer struct {
	out   *disk.Output
	id    uint64
	zip   *compress.Encoder
	sum   hash.Hash
	plain []byte // of the block at hand
	pairs int    // in it
	last  []byte // key
	foot  foot
}

func newWriter(cfg Config, h Head) (*writer, error) {
	var id [8]byte
	if _, err := io.ReadFull(cfg.Rand, id[:]); err != nil {
		return nil, fmt.Errorf("draw id: %w", err)
	}
	z, err := compress.NewEncoder()
	if err != nil {
		return nil, err
	}
	w := &writer{id: le.Uint64(id[:]), zip: z, sum: sha256.New()}
	head, err := h.encode(w.id)
	if err != nil {
		return nil, err
	}
	w.out, err = cfg.Disk.Create(cfg.FS, cfg.FS.PathJoin(cfg.Dir, lsnName(h.Position.LSN)+temporarySuffix), writeCategory)
	if err != nil {
		return nil, err
	}
	w.out.Step = cfg.Step
	w.out.Buf = append(w.out.Buf, head...)
	w.sum.Write(head)
	return w, nil
}

func (w *writer) all(pairs iter.Seq2[[]byte, []byte], broken func() error) error {
	for k, v := range pairs {
		if err := w.add(Pair{k, v}); err != nil {
			return err
		}
	}
	if err := broken(); err != nil {
		return err
	}
	if err := w.endBlock(); err != nil {
		return err
	}
	w.foot.size = w.out.End() + footLen
	w.sum.Sum(w.foot.hash[:0])
	w.out.Buf = w.foot.appendTo(w.out.Buf, w.id)
	return nil
}

func (w *writer) add(p Pair) error {
	if len(p.Key) > MaxKey || len(p.Value) > MaxValue {
		return fmt.Errorf("key of %d, value of %d octets: %w", len(p.Key), len(p.Value), ErrTooLarge)
	}
	if err := inOrder(w.last, p.Key, w.foot.pairs == 0); err != nil {
		return fmt.Errorf("key %x: %w", p.Key, err)
	}
	if len(w.plain) > 0 && len(w.plain)+p.size() > blockSize {
		if err := w.endBlock(); err != nil {
			return err
		}
	}
	w.plain = p.appendTo(w.plain)
	w.last = append(w.last[:0], p.Key...)
	w.pairs++
	w.foot.pairs++
	return nil
}

// endBlock stores the pairs at hand, if there are any.
func (w *writer) endBlock() error {
	if w.pairs == 0 {
		return nil
	}
	at := len(w.out.Buf)
	b, zipped := w.zip.Append(append(w.out.Buf, make([]byte, blockHead)...), w.plain)
	stored := b[at+blockHead:]
	k := block{number: w.foot.blocks, payload: crc32.Checksum(stored, castagnoli), stored: len(stored), plain: len(w.plain), pairs: w.pairs}
	if zipped {
		k.codec = codecZstd
	}
	k.put(b[at:], w.id)
	w.sum.Write(b[at:])
	w.out.Buf = b
	w.foot.blocks++
	w.foot.plain += uint64(len(w.plain))
	w.plain, w.pairs = w.plain[:0], 0
	return w.out.Flow()
}
