package pack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// specimen is a pack whose octets are about to be damaged.
type specimen struct {
	id       ID
	octets   []byte
	messages []message
	at       stored
}

func specimenOf(t testing.TB, messages []message) specimen {
	fs := newMem(t)
	p, at := mustWrite(t, mustOpen(t, config(fs)), messages)
	return specimen{p.ID, contents(t, fs, p.ID), messages, at}
}

// hit reports whether octets [from, to) are in the entry of m.
func (s *specimen) hit(m message, from, to int64) bool {
	at := s.at[m.Body]
	return from < at.Offset+at.Size && to > at.Offset
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// damaged holds what can be read of the octets, of which [from, to) are not what was
// written, to what was.
func (s *specimen) damaged(t fataler, octets []byte, from, to int64) {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("slot", 0o700); err != nil {
		t.Fatalf("%v", err)
	}
	if err := errors.Join(fs.MkdirAll(testDir, 0o700), put(fs, s.id, octets)); err != nil {
		t.Fatalf("%v", err)
	}
	set, err := Open(config(fs))
	if err != nil {
		t.Fatalf("damage at %d: open: %v", from, err)
	}
	s.bySet(t, set, from, to)
	s.byScrub(t, set, from, to)
	s.byScan(t, scan(bytes.NewReader(octets), int64(len(octets)), s.id), from, to)
}

func put(fs vfs.FS, id ID, octets []byte) error {
	f, err := fs.Create(fs.PathJoin(testDir, id.fileName()), writeCategory)
	if err != nil {
		return err
	}
	_, err = f.Write(bytes.Clone(octets))
	return errors.Join(err, f.Close())
}

// same compares entries as they are stored.
func same(a, b Entry) bool { return bytes.Equal(a.appendHeader(nil, 1), b.appendHeader(nil, 1)) }

func (s *specimen) bySet(t fataler, set *Set, from, to int64) {
	t.Helper()
	for _, m := range s.messages {
		e, octets, err := read(set, m.Body, s.at[m.Body])
		switch hit := s.hit(m, from, to); {
		case hit && !errors.Is(err, cluster.ErrDamaged):
			t.Fatalf("damage at %d: body %d: %v", from, m.Body, err)
		case !hit && (err != nil || !bytes.Equal(octets, m.octets) || !same(e, m.Entry)):
			t.Fatalf("damage at %d hides body %d at %+v: %v", from, m.Body, s.at[m.Body], err)
		}
	}
}

func (s *specimen) byScrub(t fataler, set *Set, from, to int64) {
	t.Helper()
	reports := 0
	good := map[mail.BodyID]bool{}
	for e, err := range set.Scrub(context.Background(), 0, nil) {
		var d *Damage
		switch {
		case err == nil:
			good[e.Body] = true
		case !errors.As(err, &d) || d.Pack != s.id:
			t.Fatalf("damage at %d: scrub: %v", from, err)
		default:
			reports++
		}
	}
	for _, m := range s.messages {
		if good[m.Body] == s.hit(m, from, to) {
			t.Fatalf("damage at %d: scrub calls body %d good: %t", from, m.Body, good[m.Body])
		}
	}
	if reports == 0 {
		t.Fatalf("damage at %d: scrub finds nothing", from)
	}
}

func (s *specimen) byScan(t fataler, all []found, from, to int64) {
	t.Helper()
	reports := 0
	for _, f := range all {
		if f.err != nil {
			if reports++; !errors.Is(f.err, cluster.ErrDamaged) {
				t.Fatalf("damage at %d: scan: %v", from, f.err)
			}
		}
	}
	for _, m := range s.messages {
		i := slices.IndexFunc(all, func(f found) bool { return f.Item.Entry.Body == m.Body && f.Location.Pack != 0 })
		whole := i >= 0 && all[i].err == nil
		if whole != !s.hit(m, from, to) {
			t.Fatalf("damage at %d: scan has body %d whole: %t", from, m.Body, whole)
		}
		if whole && (!bytes.Equal(all[i].octets, m.octets) || !same(all[i].Entry, m.Entry)) {
			t.Fatalf("damage at %d: scan has another body %d", from, m.Body)
		}
	}
	// It has no use for the table of contents.
	if table := s.at[s.messages[len(s.messages)-1].Body]; reports == 0 && from < table.Offset+table.Size {
		t.Fatalf("damage at %d: scan finds nothing wrong", from)
	}
}

// TestEveryFlippedBitIsFoundAndHidesNothingElse goes through all octets of a pack
// with small bodies.
func TestEveryFlippedBitIsFoundAndHidesNothingElse(t *testing.T) {
	s := specimenOf(t, small())
	step := 1
	if testing.Short() {
		step = 17
	}
	for i := 0; i < len(s.octets); i += step {
		s.octets[i] ^= 1 << (i % 8)
		s.damaged(t, s.octets, int64(i), int64(i)+1)
		s.octets[i] ^= 1 << (i % 8)
	}
}

// TestDamagedStretchHidesNothingElse: also where bodies have several frames.
func TestDamagedStretchHidesNothingElse(t *testing.T) {
	s := specimenOf(t, append(small(), made(4, 301, noise(6, FrameSize+70000)), made(4, 302, prose(7, 3*FrameSize)), made(5, 303, noise(8, 9))))
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{1, 8, 512, 4096, 70000, 300000}).Draw(t, "length")
		from := rapid.IntRange(0, len(s.octets)-n).Draw(t, "from")
		if rapid.Bool().Draw(t, "near an entry") {
			at := s.at[rapid.SampledFrom(s.messages).Draw(t, "entry").Body].Offset
			from = int(max(0, min(int64(from), at+int64(from%200)-100)))
		}
		octets := bytes.Clone(s.octets)
		stretch := octets[from : from+n]
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			stretch[0] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			stretch = stretch[:1]
		case 1:
			clear(stretch)
		case 2:
			copy(stretch, noise(uint64(from), n))
		}
		if bytes.Equal(octets, s.octets) {
			t.Skip("zeros before")
		}
		// What differs, exactly: a stretch may begin or end with what was there.
		to := from + len(stretch)
		for octets[from] == s.octets[from] {
			from++
		}
		for octets[to-1] == s.octets[to-1] {
			to--
		}
		s.damaged(t, octets, int64(from), int64(to))
	})
}

func TestShortenedPackGivesWhatIsLeft(t *testing.T) {
	s := specimenOf(t, small())
	for n := range s.octets {
		s.damaged(t, s.octets[:n], int64(n), int64(len(s.octets)))
	}
}

func TestOctetsAfterTheFooterHideNothing(t *testing.T) {
	s := specimenOf(t, small())
	end := int64(len(s.octets))
	s.damaged(t, append(bytes.Clone(s.octets), make([]byte, 100)...), end, end+100)
}

// TestUnreadableSectorsHideNothingElse: the device gives errors instead of octets.
func TestUnreadableSectorsHideNothingElse(t *testing.T) {
	s := specimenOf(t, assortment())
	size := int64(len(s.octets))
	for from := int64(0); from < size; from += 7 * sector {
		to := min(from+sector, size)
		all := scan(badSector{bytes.NewReader(s.octets), from, to}, size, s.id)
		s.byScan(t, all, from, to)
	}
}

// badSector fails reads that touch [from, to).
type badSector struct {
	r        *bytes.Reader
	from, to int64
}

func (b badSector) ReadAt(p []byte, off int64) (int, error) {
	if off < b.to && off+int64(len(p)) > b.from {
		return 0, io.ErrNoProgress
	}
	return b.r.ReadAt(p, off)
}

// TestWrongOctetsWithRightChecksumsAreFound: they were damaged before the checksums
// were made.
func TestWrongOctetsWithRightChecksumsAreFound(t *testing.T) {
	long := made(1, 3, noise(3, FrameSize+100))
	for _, m := range []message{made(1, 3, nil), made(1, 3, noise(3, 100)), long} {
		s := specimenOf(t, []message{made(1, 2, noise(2, 50)), m, made(1, 4, noise(4, 50))})
		at := s.at[3]
		if last := at.Offset + at.Size - 1; m.Length > 0 {
			s.octets[last] ^= 1
		} else {
			s.octets[last-int64(m.Owners[0].size())] ^= 1 // of the hash
		}
		reseal(s.octets)
		s.byScan(t, scan(bytes.NewReader(s.octets), int64(len(s.octets)), s.id), at.Offset, at.Offset+at.Size)
		fs := newMem(t)
		place(t, fs, s.id, s.octets)
		set := mustOpen(t, config(fs))
		s.byScrub(t, set, at.Offset, at.Offset+at.Size)
		if m.Length <= FrameSize {
			s.bySet(t, set, at.Offset, at.Offset+at.Size)
		}
		res, err := set.Rewrite(t.Context(), index(s.at).rewrite(set, s.id))
		if err != nil || res.Retired != nil || len(res.Damaged) != 1 || res.New[0].Entries != 2 {
			t.Errorf("%d octets: rewrite: %+v, %v", m.Length, res, err)
		}
	}
}

// TestDamagedFrameCostsNoOtherPiece: a long body is read in pieces.
func TestDamagedFrameCostsNoOtherPiece(t *testing.T) {
	m := made(1, 1, noise(1, 3*FrameSize))
	s := specimenOf(t, []message{m})
	s.octets[s.at[1].Offset+s.at[1].Size-FrameSize-100] ^= 1 // in the second frame
	fs := newMem(t)
	place(t, fs, s.id, s.octets)
	b, err := mustOpen(t, config(fs)).Body(1, s.at[1])
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p := make([]byte, 1000)
	for _, off := range []int64{2*FrameSize + 5, 100, FrameSize} {
		if _, err := b.ReadAt(p, off); off == FrameSize {
			if !errors.Is(err, cluster.ErrDamaged) {
				t.Errorf("at %d: %v", off, err)
			}
		} else if err != nil || !bytes.Equal(p, m.octets[off:][:1000]) {
			t.Errorf("at %d: %v", off, err)
		}
	}
}

// TestMessageCannotPassForAnEntry: a body that holds entries, and damage before
// them, so that the reader has to look for the next one.
func TestMessageCannotPassForAnEntry(t *testing.T) {
	forged := made(9, 666, []byte("Subject: pay\r\n\r\n"))
	evil := forged.appendHeader(nil, 0xbad)
	evil = append(evil, bytes.Repeat(evil, 3)...)
	s := specimenOf(t, []message{made(1, 1, evil), made(1, 2, evil), made(1, 3, noise(1, 5))})
	at := s.at[1].Offset
	s.octets[at+30] ^= 4
	s.octets[s.at[2].Offset+s.at[2].Size-1] ^= 4
	found := scan(bytes.NewReader(s.octets), int64(len(s.octets)), 0)
	for _, f := range found {
		if f.Entry.Body == 666 {
			t.Fatal("a message passed for an entry")
		}
	}
	if last := found[len(found)-1]; last.err != nil || last.Entry.Body != 3 {
		t.Errorf("last found: body %d, %v", last.Entry.Body, last.err)
	}
}

func TestScanNeedsNoName(t *testing.T) {
	s := specimenOf(t, small())
	for _, ends := range [][]int{nil, {0}, {len(s.octets) - 1}, {0, len(s.octets) - 1}} {
		octets := bytes.Clone(s.octets)
		for _, i := range ends {
			octets[i] ^= 1
		}
		bodies := 0
		for _, f := range scan(bytes.NewReader(octets), int64(len(octets)), 0) {
			if f.err == nil {
				bodies++
			}
		}
		if bodies != len(s.messages) {
			t.Errorf("damage at %v: %d bodies found", ends, bodies)
		}
	}
	for _, junk := range [][]byte{nil, []byte("x"), noise(1, 200), make([]byte, 3*windowStep)} {
		if all := scan(bytes.NewReader(junk), int64(len(junk)), 0); len(all) != 1 || !errors.Is(all[0].err, cluster.ErrDamaged) {
			t.Errorf("%d octets of nothing: %+v", len(junk), all)
		}
	}
}
