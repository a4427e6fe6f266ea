package snapshot

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/compress"
)

// readAhead is what a Reader reads at once.
const readAhead = 1 << 20

// Reader reads a snapshot, front to back and once.
type Reader struct {
	path   string
	file   vfs.File
	in     *bufio.Reader
	dec    *compress.Decoder
	head   Head
	id     uint64
	size   int64
	at     int64 // octets taken from in
	sum    hash.Hash
	seen   foot
	stored []byte // room for a block
	plain  []byte // and decoded
	last   []byte // key
}

// Open opens the snapshot at path and reads its header. Errors: cluster.ErrDamaged,
// cluster.ErrNewer, os.ErrNotExist.
func Open(fs vfs.FS, path string) (*Reader, error) {
	f, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	r := &Reader{path: path, file: f, in: bufio.NewReaderSize(f, readAhead), sum: sha256.New()}
	if r.dec, err = compress.NewDecoder(1); err == nil {
		err = r.open()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

func (r *Reader) open() error {
	info, err := r.file.Stat()
	if err != nil {
		return fmt.Errorf("open snapshot: %w", err)
	}
	r.size = info.Size()
	b, err := r.in.Peek(headFixed)
	if err != nil {
		return damaged(r.path, 0, err)
	}
	n, err := headSize(b)
	if err == nil {
		b, err = r.take(n)
	}
	if err == nil {
		r.sum.Write(b)
		r.head, r.id, err = parseHead(b)
	}
	if err != nil {
		return damaged(r.path, 0, err)
	}
	return nil
}

// Glance reads the header of the snapshot at path, and the file's size in octets.
// Errors as Open's.
func Glance(fs vfs.FS, path string) (h Head, size int64, err error) {
	r, err := Open(fs, path)
	if err != nil {
		return h, 0, err
	}
	return r.head, r.size, r.Close()
}

// take returns the next n octets, valid until the next call.
func (r *Reader) take(n int) ([]byte, error) {
	if int64(n) > r.size-r.at { // before any memory is taken for them
		return nil, io.ErrUnexpectedEOF
	}
	r.stored = slices.Grow(r.stored[:0], n)[:n]
	if _, err := io.ReadFull(r.in, r.stored); err != nil {
		return nil, err
	}
	r.at += int64(n)
	return r.stored, nil
}

// Head returns what the snapshot is of.
func (r *Reader) Head() Head { return r.head }

// Pairs yields the pairs, ascending by key; they are valid inside the loop's step.
// The sequence ends without an error only if the whole file is what was written:
// what came before an error must not be relied on. Call it once.
func (r *Reader) Pairs() iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		for {
			at := r.at
			more, err := r.step(yield)
			if err != nil {
				yield(Pair{}, damaged(r.path, at, err))
			}
			if err != nil || !more {
				return
			}
		}
	}
}

// step yields a block, or verifies the end; false if there is no more to come.
func (r *Reader) step(yield func(Pair, error) bool) (more bool, err error) {
	b, err := r.in.Peek(blockHead)
	if err != nil {
		return false, err
	}
	if isFoot(b, r.id) {
		return false, r.finish()
	}
	k, err := parseBlock(b, r.id, r.seen.blocks)
	if err != nil {
		return false, err
	}
	stored, err := r.take(blockHead + k.stored)
	if err != nil {
		return false, err
	}
	r.sum.Write(stored)
	plain, err := k.decode(r.dec, stored[blockHead:], r.plain)
	if err != nil {
		return false, err
	}
	if k.codec != codecPlain {
		r.plain = plain
	}
	r.seen.blocks++
	r.seen.plain += uint64(k.plain)
	return r.pairs(k, plain, yield)
}

func (r *Reader) pairs(k block, plain []byte, yield func(Pair, error) bool) (more bool, err error) {
	for range k.pairs {
		var p Pair
		if p, plain, err = nextPair(plain); err != nil {
			return false, err
		}
		if err := inOrder(r.last, p.Key, r.seen.pairs == 0); err != nil {
			return false, err
		}
		r.last = append(r.last[:0], p.Key...)
		r.seen.pairs++
		if !yield(p, nil) {
			return false, nil
		}
	}
	if len(plain) > 0 {
		return false, errPairs
	}
	return true, nil
}

func (r *Reader) finish() error {
	b, err := r.take(footLen)
	if err != nil {
		return err
	}
	f, err := parseFoot(b)
	if err != nil {
		return err
	}
	r.seen.size = r.at
	r.sum.Sum(r.seen.hash[:0])
	if f != r.seen || r.at != r.size {
		return errors.New("the file is not what its footer says")
	}
	return nil
}

// Close ends reading.
func (r *Reader) Close() error { return r.file.Close() }
