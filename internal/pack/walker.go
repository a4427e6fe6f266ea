package pack

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/tandemail/tandemail/internal/cluster"
)

// walker goes through the frames of one entry, front to back.
type walker struct {
	win    *window
	dec    *Decoder
	head   header
	at     int64 // of the entry
	next   int64 // of the next frame
	number int
	sum    hash.Hash
	plain  []byte // room for decoding
}

func newWalker(win *window, d *Decoder, h header, at int64) *walker {
	return &walker{win: win, dec: d, head: h, at: at, next: at + int64(h.size), sum: sha256.New()}
}

// step returns the next frame, as it is stored with its header, and decoded; both
// are valid until the next call. The last one is returned only if the body's hash is
// right, io.EOF after it. Behind a frame whose payload is damaged the next step goes on.
func (w *walker) step() (stored, plain []byte, err error) {
	if w.number == w.head.frames() {
		if w.number == 0 && !w.right() {
			return nil, nil, errHash
		}
		return nil, nil, io.EOF
	}
	f, err := w.frame()
	if err != nil {
		return nil, nil, err
	}
	at := w.next
	w.next += frameHeaderLen + int64(f.stored)
	w.number++
	stored, err = w.win.at(at, frameHeaderLen+f.stored)
	if err != nil {
		return nil, nil, err
	}
	plain, err = f.decode(w.dec, stored[frameHeaderLen:], w.plain)
	if err != nil {
		return nil, nil, fmt.Errorf("frame %d: %w", w.number-1, err)
	}
	if f.codec != codecPlain {
		w.plain = plain
	}
	w.sum.Write(plain)
	if w.number == w.head.frames() && !w.right() {
		return nil, nil, errHash
	}
	return stored, plain, nil
}

var errHash = errors.New("hash mismatch")

// right reports whether the frames so far are the body.
func (w *walker) right() bool { return [32]byte(w.sum.Sum(nil)) == w.head.SHA256 }

func (w *walker) frame() (frameHead, error) {
	b, err := w.win.peek(w.next, frameHeaderLen)
	if err != nil {
		return frameHead{}, err
	}
	return w.head.parseFrame(b, w.number)
}

// verify goes through what is left and compares the hash.
func (w *walker) verify() error {
	for {
		if _, _, err := w.step(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// end returns where the entry ends, by the headers of the frames that are left;
// errVoid too if the writer gave up on it.
func (w *walker) end() (int64, error) {
	for w.number < w.head.frames() {
		f, err := w.frame()
		if errors.Is(err, errVoid) {
			return w.next + frameHeaderLen, err
		} else if err != nil {
			return 0, err
		}
		w.next += frameHeaderLen + int64(f.stored)
		w.number++
	}
	return w.next, nil
}

// damage turns why the entry cannot be read into what callers see.
func (w *walker) damage(why error) error {
	return damaged(why, Damage{Pack: w.head.pack, Body: w.head.Body, Offset: w.at, Size: w.next - w.at})
}

// damaged is d for the reason; but what a newer release wrote is not damaged.
func damaged(why error, d Damage) error {
	if errors.Is(why, cluster.ErrNewer) {
		return why
	}
	d.Why = why
	return &d
}
