package pack

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/mail"
)

// TestRefusedBodyLeavesTheOthers: whatever is wrong with a body, and however much
// of it was written before that was known.
func TestRefusedBodyLeavesTheOthers(t *testing.T) {
	broken := errors.New("journal is damaged here")
	for _, size := range []int{10, FrameSize, FrameSize + 1, 8 * FrameSize} {
		good := noise(1, size)
		bad := map[string]struct {
			from io.Reader
			want error
		}{
			"other octets": {bytes.NewReader(noise(2, size)), ErrContent},
			"short":        {bytes.NewReader(good[:size-1]), ErrContent},
			"long":         {bytes.NewReader(append(slices.Clone(good), 0)), ErrContent},
			"empty":        {strings.NewReader(""), ErrContent},
			"unreadable":   {io.MultiReader(bytes.NewReader(good[:size-1]), iotest.ErrReader(broken)), broken},
		}
		for name, b := range bad {
			fs := newMem(t)
			s := mustOpen(t, config(fs))
			w, err := s.Create()
			if err != nil {
				t.Fatal(err)
			}
			at := stored{}
			for _, m := range small() {
				if at[m.Body], err = w.Add(m.Entry, bytes.NewReader(m.octets)); err != nil {
					t.Fatal(err)
				}
				if m.Body != 200 {
					continue
				}
				wrong := made(1, m.Body+1, good)
				wrong.Owners[0].Account = m.Account()
				if _, err := w.Add(wrong.Entry, b.from); !errors.Is(err, b.want) || w.Err() != nil {
					t.Fatalf("%s, %d octets: %v, then %v; want %v", name, size, err, w.Err(), b.want)
				}
			}
			p, err := w.Seal()
			if err != nil || p.Entries != len(small()) {
				t.Fatalf("%s, %d octets: %+v, %v", name, size, p, err)
			}
			var octets int64
			for _, l := range at {
				octets += l.Size
			}
			if size < disk.WriteSize && p.Stored != octets {
				t.Errorf("%s, %d octets: the pack has %d for nothing", name, size, p.Stored-octets)
			}
			intact(t, fs, s, p.ID, small(), at)
		}
	}
}

// intact holds a pack to the messages it should have, on every way to them.
func intact(t testing.TB, fs vfs.FS, s *Set, id ID, messages []message, at stored) {
	t.Helper()
	for _, m := range messages {
		mustRead(t, s, m, at[m.Body])
	}
	scrubbed := 0
	for e, err := range s.Scrub(t.Context(), 0, nil) {
		if err != nil {
			t.Fatalf("scrub: %+v: %v", e, err)
		}
		scrubbed++
	}
	found := scanAll(t, fs, id)
	for i, f := range found {
		if f.err != nil || !bytes.Equal(f.octets, messages[i].octets) || f.Location != at[f.Body] {
			t.Fatalf("scan: item %d is %+v, %v", i, f.Location, f.err)
		}
	}
	if n := len(messages); len(found) != n || scrubbed != n || len(entries(t, s, id)) != n {
		t.Fatalf("%d bodies: scan finds %d, scrub %d, the table has %d", n, len(found), scrubbed, len(entries(t, s, id)))
	}
}

// found is what Scan gave at one turn.
type found struct {
	Item
	octets []byte
	err    error // of the turn, or of reading the octets
}

func scanAll(t testing.TB, fs vfs.FS, id ID) []found {
	t.Helper()
	b := contents(t, fs, id)
	return scan(bytes.NewReader(b), int64(len(b)), id)
}

func scan(r io.ReaderAt, size int64, id ID) (all []found) {
	for item, err := range Scan(r, size, id) {
		f := found{Item: item, err: err}
		if err == nil {
			f.octets, f.err = io.ReadAll(item.Octets)
		}
		all = append(all, f)
	}
	return all
}

func contents(t testing.TB, fs vfs.FS, id ID) []byte {
	t.Helper()
	f, err := fs.Open(fs.PathJoin(testDir, id.fileName()))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBodiesComeInOrder(t *testing.T) {
	s := mustOpen(t, config(newMem(t)))
	w, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	add := func(m message, want error) {
		t.Helper()
		if _, err := w.Add(m.Entry, bytes.NewReader(m.octets)); !errors.Is(err, want) {
			t.Errorf("body %d of account %v: %v, want %v", m.Body, m.Account(), err, want)
		}
	}
	add(made(2, 10, nil), nil)
	add(made(2, 10, nil), ErrOrder)
	add(made(2, 9, nil), ErrOrder)
	add(made(1, 11, nil), ErrOrder)
	add(made(2, 11, nil), nil)
	add(made(3, 5, nil), nil)
	if w.Entries() != 3 {
		t.Errorf("%d entries", w.Entries())
	}
	if err := errors.Join(w.Abort(), w.Abort()); err != nil {
		t.Error(err)
	}
	add(made(4, 5, nil), cluster.ErrStopped)
}

func TestImpossibleEntriesAreRefused(t *testing.T) {
	fs := newMem(t)
	s := mustOpen(t, config(fs))
	w, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	long := made(1, 1, nil)
	long.Owners[0].Prefix = make([]byte, MaxHeader)
	worded := made(1, 1, nil)
	worded.Owners[0].Keywords = make([]string, mail.MaxKeywords+1)
	negative := made(1, 1, nil)
	negative.Length = -1
	for _, m := range []message{long, worded, negative, {}} {
		if _, err := w.Add(m.Entry, bytes.NewReader(nil)); err == nil || w.Err() != nil {
			t.Errorf("accepted %d octets, %v", m.Length, w.Err())
		}
	}
	if _, err := w.Seal(); !errors.Is(err, ErrEmpty) {
		t.Errorf("seal: %v, want that it is empty", err)
	}
	if names := list(t, fs); len(names) != 0 || len(s.Packs()) != 0 {
		t.Errorf("left: %v", names)
	}
}

func TestOwnersThatDoNotFitAreCounted(t *testing.T) {
	s := mustOpen(t, config(newMem(t)))
	m := made(1, 1, noise(1, 10))
	one := m.Owners[0]
	one.Prefix = make([]byte, 10000)
	for range 200 {
		m.Owners = append(m.Owners, one)
	}
	_, at := mustWrite(t, s, []message{m})
	e, octets, err := read(s, 1, at[1])
	if err != nil || !bytes.Equal(octets, m.octets) {
		t.Fatal(err)
	}
	if n := len(e.Owners); n < 50 || n+e.Omitted != len(m.Owners) || at[1].Size > MaxHeader+1000 {
		t.Errorf("%d owners, %d omitted of %d, in %d octets", n, e.Omitted, len(m.Owners), at[1].Size)
	}
}

func TestWriterSaysWhenItIsFull(t *testing.T) {
	cfg := config(newMem(t))
	cfg.PackSize = 10000
	s := mustOpen(t, cfg)
	w, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	n := mail.BodyID(0)
	for !w.Full() {
		n++
		if _, err := w.Add(made(1, n, noise(1, 900)).Entry, bytes.NewReader(noise(1, 900))); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := w.Seal(); err != nil || n < 5 || n > 10 || p.Size > 12000 {
		t.Errorf("full after %d bodies: %+v, %v", n, p, err)
	}
}

// TestFailureLeavesNothing: every file operation of writing a pack fails once.
func TestFailureLeavesNothing(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		for at := 1; ; at++ {
			count := -1000 // opening is not counted
			mem := newMem(t)
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				// Removing and closing are what is left to do.
				if count++; count == at && op.Kind != errorfs.OpRemove && op.Kind != errorfs.OpFileClose {
					return cause
				}
				return nil
			}))
			s := mustOpen(t, config(fs))
			count = 0
			_, _, err := write(s, several())
			if count < at {
				if at < 8 {
					t.Errorf("only %d operations", at)
				}
				break
			}
			if err == nil {
				continue // one that was let pass
			}
			if !errors.Is(err, cause) || errors.Is(err, cluster.ErrFull) != (cause == syscall.ENOSPC) {
				t.Fatalf("operation %d: %v, want %v", at, err, cause)
			}
			if names := list(t, mem); len(names) != 0 || len(s.Packs()) != 0 {
				t.Fatalf("operation %d: left %v, %v", at, names, s.Packs())
			}
		}
	}
}

// TestFailedSyncIsNotRetried: the kernel may call the lost pages clean.
func TestFailedSyncIsNotRetried(t *testing.T) {
	mem, failed := newMem(t), false
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, temporarySuffix) && !failed {
			failed = true
			return syscall.EIO
		}
		return nil
	}))
	s := mustOpen(t, config(fs))
	w, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	big := made(1, 1, noise(1, 2*disk.SyncStep)) // synced on the way
	if _, err := w.Add(big.Entry, bytes.NewReader(big.octets)); !errors.Is(err, syscall.EIO) || w.Err() == nil {
		t.Fatalf("add: %v", err)
	}
	if _, err := w.Seal(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("seal: %v", err)
	}
	if names := list(t, mem); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
}

// TestSyncsComeInSteps: nobody else's sync waits for more than one.
func TestSyncsComeInSteps(t *testing.T) {
	syncs := 0
	fs := errorfs.Wrap(newMem(t), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, temporarySuffix) {
			syncs++
		}
		return nil
	}))
	m := made(1, 1, noise(1, 5*disk.SyncStep))
	cfg := config(fs)
	mustWrite(t, mustOpen(t, cfg), []message{m})
	if syncs < 5 || syncs > 6 {
		t.Errorf("%d syncs of the file for %d octets", syncs, m.Length)
	}
	if s := cfg.Disk.Stats(); s.Syncs < uint64(syncs) {
		t.Errorf("the disk's scheduler saw %d syncs", s.Syncs)
	}
}
