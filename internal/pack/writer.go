package pack

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/compress"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/mail"
)

// Writer writes one pack. Use Set.Create; end it with Seal or Abort.
type Writer struct {
	set   *Set
	id    ID
	file  *disk.Output
	zip   *compress.Encoder
	plain []byte // room for one frame
	done  []record
	total int64 // plain octets
	err   error // final
}

// Create begins a pack. Nothing of it is in the set until Seal, and Open removes
// what a crash leaves. Without room it gives cluster.ErrFull.
func (s *Set) Create() (*Writer, error) {
	id, err := s.newID()
	if err != nil {
		return nil, err
	}
	z, err := compress.NewEncoder()
	if err != nil {
		return nil, err
	}
	f, err := s.cfg.Disk.Create(s.cfg.FS, s.path(id.String()+temporarySuffix), writeCategory)
	if err != nil {
		return nil, fmt.Errorf("create pack: %w", err)
	}
	f.Buf = appendFileHeader(f.Buf, id)
	return &Writer{set: s, id: id, file: f, zip: z}, nil
}

// Full reports that the pack has its size or its number of entries: seal it. Only
// the number is a limit.
func (w *Writer) Full() bool {
	return w.file.End() >= w.set.cfg.PackSize || len(w.done) == MaxEntries
}

// Entries is how many bodies were added.
func (w *Writer) Entries() int { return len(w.done) }

// Err returns the final error, nil while bodies can be added.
func (w *Writer) Err() error { return w.err }

// Add stores the octets that body yields up to its end, and returns where they will
// be once Seal has returned. Entries come in the order of Entry.Compare. Add waits
// for the disk.
//
// It gives ErrContent if the octets have not the entry's length and hash, ErrOrder,
// ErrTooLarge, or body's own error: the entry is not in the pack then, and the
// others are not affected. Any other error is final, in Err too, cluster.ErrFull
// among them.
func (w *Writer) Add(e Entry, body io.Reader) (Location, error) {
	if err := w.admit(&e); err != nil {
		return Location{}, err
	}
	start := w.file.End()
	w.file.Buf = e.appendHeader(w.file.Buf, w.id)
	c := content{from: body, left: e.Length, sum: sha256.New(), want: e.SHA256}
	for n := 0; c.left > 0 || n == 0; n++ {
		if err := w.addFrame(&e, n, &c); err != nil {
			return Location{}, errors.Join(fmt.Errorf("body %d: %w", e.Body, err), w.giveUp(e.Body, start, n))
		}
	}
	return w.note(&e, start), nil
}

// copy stores an entry of another pack as it stands there, with its header raw, if
// its octets have the right hash. Errors of w, which leave the Writer as it was, and
// final ones.
func (w *Writer) copy(from *walker, raw []byte) error {
	e := &from.head.Entry
	if err := w.admit(e); err != nil {
		return err
	}
	start := w.file.End()
	w.file.Buf = appendMoved(w.file.Buf, raw, w.id)
	for {
		n := from.number
		stored, _, err := from.step()
		switch {
		case errors.Is(err, io.EOF):
			w.note(e, start)
			return nil
		case err != nil:
			return errors.Join(from.damage(err), w.giveUp(e.Body, start, n))
		}
		w.file.Buf = append(w.file.Buf, stored...)
		if err := w.flow(); err != nil {
			return err
		}
	}
}

// admit refuses what cannot come next.
func (w *Writer) admit(e *Entry) error {
	if w.err != nil {
		return w.err
	}
	if err := e.check(); err != nil {
		return err
	}
	if len(w.done) == MaxEntries {
		return fmt.Errorf("body %d: pack has %d entries: %w", e.Body, MaxEntries, ErrTooLarge)
	}
	if n := len(w.done); n > 0 {
		if last := w.done[n-1]; compare(last.account, last.body, e.Account(), e.Body) >= 0 {
			return fmt.Errorf("body %d of account %v after body %d of account %v: %w", e.Body, e.Account(), last.body, last.account, ErrOrder)
		}
	}
	return nil
}

// content reads what is to be stored and compares it with what was announced.
type content struct {
	from io.Reader
	left int64
	sum  hash.Hash
	want [32]byte
}

// next fills p. The last octets are given only if all were as announced.
func (c *content) next(p []byte) error {
	if _, err := io.ReadFull(c.from, p); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("too few octets: %w", ErrContent)
		}
		return err
	}
	c.sum.Write(p)
	if c.left -= int64(len(p)); c.left > 0 {
		return nil
	}
	switch n, err := io.ReadFull(c.from, make([]byte, 1)); {
	case n > 0:
		return fmt.Errorf("too many octets: %w", ErrContent)
	case !errors.Is(err, io.EOF):
		return err
	case [32]byte(c.sum.Sum(nil)) != c.want:
		return fmt.Errorf("hash mismatch: %w", ErrContent)
	}
	return nil
}

// addFrame stores the next frame of c; none, but the verdict, if c is empty.
func (w *Writer) addFrame(e *Entry, n int, c *content) error {
	size := int(min(FrameSize, c.left))
	w.plain = slices.Grow(w.plain[:0], size)
	p := w.plain[:size]
	if err := c.next(p); err != nil || len(p) == 0 {
		return err
	}
	b, at := w.file.Buf, len(w.file.Buf)
	b = append(b, make([]byte, frameHeaderLen)...)
	head := frameHead{plain: len(p)}
	var compressed bool
	if b, compressed = w.zip.Append(b, p); compressed {
		head.codec = codecZstd
	}
	stored := b[at+frameHeaderLen:]
	head.stored, head.payload = len(stored), payloadChecksum(stored)
	head.put(b[at:], e.Body, n)
	w.file.Buf = b
	return w.flow()
}

func (w *Writer) flow() error {
	if err := w.file.Flow(); err != nil {
		return w.fail(err)
	}
	return nil
}

// giveUp takes back the entry that began at start and has n frames, or, if part of
// it was written, ends it with a frame that says so. It returns the final error.
func (w *Writer) giveUp(body mail.BodyID, start int64, n int) error {
	if w.err != nil {
		return nil // in the caller's error already
	}
	if start >= w.file.Written() {
		w.file.Buf = w.file.Buf[:start-w.file.Written()]
		return nil
	}
	var void [frameHeaderLen]byte
	frameHead{codec: codecVoid}.put(void[:], body, n)
	w.file.Buf = append(w.file.Buf, void[:]...)
	return w.flow()
}

// note puts the entry that began at start into the table of contents.
func (w *Writer) note(e *Entry, start int64) Location {
	r := record{body: e.Body, offset: start, size: w.file.End() - start, plain: e.Length, account: e.Account()}
	w.done = append(w.done, r)
	w.total += e.Length
	return r.stored(w.id).Location
}

// fail makes the first error final and returns the final one.
func (w *Writer) fail(err error) error {
	if w.err == nil {
		w.err = fmt.Errorf("pack %v: %w", w.id, err)
	}
	return w.err
}

// Seal makes the pack durable, gives it its name and puts it into the set. The
// Writer is done then, also after an error: nothing of the pack is left then, or
// what is left is removed by Open. ErrEmpty if there is no body in it.
func (w *Writer) Seal() (Pack, error) {
	if w.err == nil && len(w.done) == 0 {
		_ = w.fail(ErrEmpty)
	}
	if w.err != nil {
		return Pack{}, errors.Join(w.err, w.Abort())
	}
	end := footer{pack: w.id, table: w.file.End(), entries: len(w.done), plain: w.total}
	w.file.Buf = appendTable(w.file.Buf, w.id, w.done)
	w.file.Buf = end.appendTo(w.file.Buf)
	err := w.file.Finish()
	if err == nil {
		err = w.file.Name(w.set.path(w.id.fileName()))
	}
	if err != nil {
		return Pack{}, errors.Join(w.fail(fmt.Errorf("seal: %w", err)), w.Abort())
	}
	w.done, w.err = nil, fmt.Errorf("pack %v: sealed: %w", w.id, cluster.ErrStopped)
	return w.set.add(end), nil
}

// Abort removes what was written. It does nothing after Seal or another Abort. An
// error means that a file was left for Open to remove, or to list without a body
// that anything refers to.
func (w *Writer) Abort() error {
	if w.done == nil && w.file.Finished() {
		return nil
	}
	w.done = nil
	_ = w.fail(cluster.ErrStopped)
	if err := w.file.Remove(); err != nil {
		return fmt.Errorf("abort pack %v: %w", w.id, err)
	}
	return nil
}
