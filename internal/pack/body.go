package pack

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/tandemail/tandemail/internal/mail"
)

// Body is a stored body that is open. It pins its pack and holds at most one frame
// in memory, or all of a body that has only one.
type Body struct {
	set  *Set
	pack *pinned
	file *file
	head header
	at   Location
	last atomic.Pointer[lastFrame]
}

// lastFrame is a frame that was decoded.
type lastFrame struct {
	number int
	next   int64 // where the following frame begins
	plain  []byte
}

// Body opens a body. The octets of one of a single frame have been compared with
// their hash when it returns; of a longer one each frame is compared with its
// checksum when it is read.
//
// Errors: ErrNoPack, a *Damage, cluster.ErrNewer.
func (s *Set) Body(id mail.BodyID, at Location) (*Body, error) {
	p, f, err := s.openShared(at.Pack)
	if err != nil {
		return nil, fmt.Errorf("body %d: %w", id, err)
	}
	b := &Body{set: s, pack: p, file: f, at: at}
	if err := b.open(id); err != nil {
		return nil, errors.Join(damaged(err, Damage{Pack: at.Pack, Body: id, Offset: at.Offset, Size: at.Size}), b.Close())
	}
	return b, nil
}

// open reads the header, and the rest if it is one frame.
func (b *Body) open(id mail.BodyID) error {
	room := rooms.Get().(*[]byte)
	win := &window{r: b.file, step: int(min(max(b.at.Size, headerFixed), headerFixed+FrameSize)), buf: (*room)[:0]}
	defer func() {
		if win.buf != nil {
			*room = win.buf
			rooms.Put(room)
		}
	}()
	h, _, err := win.header(b.at.Offset)
	if err != nil {
		return err
	}
	if h.pack != b.at.Pack || h.Body != id {
		return fmt.Errorf("body %d of pack %v is here", h.Body, h.pack)
	}
	b.head = h
	if h.frames() > 1 {
		return nil
	}
	w := newWalker(win, b.set.cfg.Decoder, h, b.at.Offset)
	only := &lastFrame{}
	if h.Length > 0 {
		if _, only.plain, err = w.step(); err != nil {
			return err
		}
	}
	if err := w.verify(); err != nil {
		return err
	}
	if w.plain == nil {
		win.buf = nil // only refers to it
	}
	b.last.Store(only)
	return nil
}

// rooms are buffers of windows that read one small body.
var rooms = sync.Pool{New: func() any { return new([]byte) }}

// Describe returns what the pack says of a body, whatever has become of its octets.
// Errors as those of Body.
func (s *Set) Describe(id mail.BodyID, at Location) (Entry, error) {
	p, f, err := s.openShared(at.Pack)
	if err != nil {
		return Entry{}, fmt.Errorf("body %d: %w", id, err)
	}
	defer s.closeShared(p, f)
	win := &window{r: f, step: headerFixed}
	h, _, err := win.header(at.Offset)
	if err == nil && (h.pack != at.Pack || h.Body != id) {
		err = fmt.Errorf("body %d of pack %v is here", h.Body, h.pack)
	}
	if err != nil {
		err = damaged(err, Damage{Pack: at.Pack, Body: id, Offset: at.Offset, Size: at.Size})
	}
	return h.Entry, err
}

// Entry is what the pack says of the body. Its hash and length are to be compared
// with the state's.
func (b *Body) Entry() Entry { return b.head.Entry }

// ReadAt implements io.ReaderAt over the plain octets. What does not match its
// checksum gives a *Damage.
func (b *Body) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("body %d: read at %d", b.head.Body, off)
	}
	done := 0
	for done < len(p) && off < b.head.Length {
		f, err := b.frame(int(off / FrameSize))
		if err != nil {
			return done, damaged(err, Damage{Pack: b.at.Pack, Body: b.head.Body, Offset: b.at.Offset, Size: b.at.Size})
		}
		n := copy(p[done:], f.plain[off%FrameSize:])
		done, off = done+n, off+int64(n)
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// frame returns a frame, decoded: the latest, or by going there from it or from the
// beginning.
func (b *Body) frame(number int) (*lastFrame, error) {
	last := b.last.Load()
	if last != nil && last.number == number {
		return last, nil
	}
	n, at := 0, b.at.Offset+int64(b.head.size)
	if last != nil && last.number < number {
		n, at = last.number+1, last.next
	}
	win := &window{r: b.file, step: frameHeaderLen}
	for ; ; n++ {
		if n == number {
			win.step = frameHeaderLen + b.head.plain(n)
		}
		octets, err := win.at(at, frameHeaderLen)
		if err != nil {
			return nil, err
		}
		f, err := b.head.parseFrame(octets, n)
		if err != nil {
			return nil, err
		}
		if n < number {
			at += frameHeaderLen + int64(f.stored)
			continue
		}
		if octets, err = win.at(at, frameHeaderLen+f.stored); err != nil {
			return nil, err
		}
		plain, err := f.decode(b.set.cfg.Decoder, octets[frameHeaderLen:], nil)
		if err != nil {
			return nil, fmt.Errorf("frame %d: %w", n, err)
		}
		last = &lastFrame{number: n, next: at + frameHeaderLen + int64(f.stored), plain: plain}
		b.last.Store(last)
		return last, nil
	}
}

// Close releases the pack. Once.
func (b *Body) Close() error {
	b.set.closeShared(b.pack, b.file)
	return nil
}
