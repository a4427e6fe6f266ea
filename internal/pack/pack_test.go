package pack

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/mail"
)

const testDir = "slot/packs"

func config(fs vfs.FS) Config {
	return Config{FS: fs, Dir: testDir, Disk: disk.New(disk.Config{}), Random: rand.NewChaCha8([32]byte{1})}
}

func newMem(t testing.TB) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	if err := fs.MkdirAll("slot", 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := fs.OpenDir("")
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func mustOpen(t testing.TB, cfg Config) *Set {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// message is a body with what is said of it.
type message struct {
	Entry
	octets []byte
}

// made returns a message of an account; what it is depends on its arguments alone.
func made(account byte, id mail.BodyID, octets []byte) message {
	return message{octets: octets, Entry: Entry{
		Body: id, Length: int64(len(octets)), SHA256: sha256.Sum256(octets),
		Owners: []Owner{{
			Account: mail.AccountID{account}, Address: fmt.Sprintf("user%d@example.org", account),
			Mailbox: mail.MailboxID{account, 1}, Name: "Lists/naïve", UID: mail.UID(id), InternalDate: 1700000000000000 + mail.Instant(id),
			Flags: mail.Seen | mail.Flagged, Keywords: []string{"$Junk", "work"},
			Prefix: []byte("Delivered-To: somebody\r\n"),
		}},
	}}
}

// noise is n octets that do not compress; prose is n that do.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 7}).Read(b)
	return b
}

func prose(seed uint64, n int) []byte {
	line := fmt.Sprintf("Received: from mx%d.example.org by mail.example.org with LMTP id %d\r\n", seed, seed*seed)
	return bytes.Repeat([]byte(line), n/len(line)+1)[:n]
}

// assortment is messages of every kind of size, in order.
func assortment() []message {
	var all []message
	for i, n := range []int{0, 1, 100, 1024, 4096, 60000, FrameSize - 1, FrameSize, FrameSize + 1, 3*FrameSize + 17} {
		id := mail.BodyID(1000 * (i + 1))
		all = append(all, made(byte(1+i/4), id, noise(uint64(i), n)), made(byte(1+i/4), id+1, prose(uint64(i), n)))
	}
	all[3].Owners = nil // whose it is was not known: first of all
	all[5].Owners = append(all[5].Owners, all[9].Owners...)
	all[5].Omitted = 3
	slices.SortFunc(all, func(a, b message) int { return a.Compare(&b.Entry) })
	return all
}

func small() []message {
	return []message{
		made(1, 100, noise(1, 300)), made(1, 200, prose(2, 2000)), made(2, 50, noise(3, 10)), made(2, 60, nil),
		made(3, 150, noise(4, 500)),
	}
}

// several is small and a body that is more than one write.
func several() []message { return append(small(), made(9, 1, noise(9, disk.WriteSize+FrameSize+10))) }

// stored is where messages are.
type stored map[mail.BodyID]Location

func mustWrite(t testing.TB, s *Set, messages []message) (Pack, stored) {
	t.Helper()
	p, at, err := write(s, messages)
	if err != nil {
		t.Fatal(err)
	}
	return p, at
}

func write(s *Set, messages []message) (Pack, stored, error) {
	w, err := s.Create()
	if err != nil {
		return Pack{}, nil, err
	}
	at := stored{}
	for _, m := range messages {
		if at[m.Body], err = w.Add(m.Entry, bytes.NewReader(m.octets)); err != nil {
			return Pack{}, nil, errors.Join(err, w.Abort())
		}
	}
	p, err := w.Seal()
	return p, at, err
}

// read returns all octets of a body, by way of an io.ReaderAt.
func read(s *Set, id mail.BodyID, at Location) (Entry, []byte, error) {
	b, err := s.Body(id, at)
	if err != nil {
		return Entry{}, nil, err
	}
	octets, err := io.ReadAll(io.NewSectionReader(b, 0, b.Entry().Length))
	return b.Entry(), octets, errors.Join(err, b.Close())
}

func mustRead(t testing.TB, s *Set, m message, at Location) {
	t.Helper()
	e, octets, err := read(s, m.Body, at)
	if err != nil {
		t.Fatalf("body %d at %+v: %v", m.Body, at, err)
	}
	if !bytes.Equal(octets, m.octets) {
		t.Fatalf("body %d: %d octets differ from the %d written", m.Body, len(octets), len(m.octets))
	}
	if d := cmp.Diff(m.Entry, e); d != "" {
		t.Fatalf("body %d: written and read: %s", m.Body, d)
	}
}

func TestBodiesAreReadAsTheyWereWritten(t *testing.T) {
	fs := newMem(t)
	s := mustOpen(t, config(fs))
	p, at := mustWrite(t, s, assortment())
	for range 2 {
		for _, m := range assortment() {
			mustRead(t, s, m, at[m.Body])
		}
		s = mustOpen(t, config(fs)) // and again in the next life
		if d := cmp.Diff([]Pack{p}, s.Packs()); d != "" {
			t.Fatalf("summaries: %s", d)
		}
	}
	var octets, plain int64
	for i, e := range entries(t, s, p.ID) {
		m := assortment()[i]
		if e.Location != at[m.Body] || e.Length != m.Length || e.Account != m.Account() {
			t.Errorf("entry %d is %+v, want body %d at %+v", i, e, m.Body, at[m.Body])
		}
		octets, plain = octets+e.Size, plain+e.Length
	}
	if p.Stored != octets || p.Plain != plain || p.Entries != len(assortment()) || p.Size <= p.Stored {
		t.Errorf("summary %+v, entries have %d octets for %d", p, octets, plain)
	}
	if p.Stored > plain*3/4 {
		t.Errorf("%d octets for %d, half of which compress well", p.Stored, plain)
	}
}

func entries(t testing.TB, s *Set, id ID) (all []Stored) {
	t.Helper()
	for e, err := range s.Entries(id) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func TestAnyPieceOfABodyCanBeRead(t *testing.T) {
	s := mustOpen(t, config(newMem(t)))
	m := made(1, 7, append(prose(1, 2*FrameSize+100), noise(1, 2*FrameSize)...))
	_, at := mustWrite(t, s, []message{m})
	b, err := s.Body(7, at[7])
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		off, n := rng.Int64N(m.Length+10), rng.IntN(1<<rng.IntN(20)+1)
		p := make([]byte, n)
		got, err := b.ReadAt(p, off)
		want := m.octets[min(off, m.Length):min(off+int64(n), m.Length)]
		if !bytes.Equal(p[:got], want) || (err == nil) != (got == n) || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("read %d at %d of %d: %d octets, %v", n, off, m.Length, got, err)
		}
	}
}

func TestLocationOfAnotherBodyIsRefused(t *testing.T) {
	s := mustOpen(t, config(newMem(t)))
	_, at := mustWrite(t, s, small())
	wrong := at[100]
	wrong.Offset++
	for _, at := range []Location{at[100], wrong, {Pack: wrong.Pack, Offset: 1 << 40, Size: 1 << 50}, {Pack: wrong.Pack, Offset: -5, Size: -1}} {
		var d *Damage
		if _, err := s.Body(200, at); !errors.As(err, &d) || !errors.Is(err, cluster.ErrDamaged) || d.Body != 200 {
			t.Errorf("body 200 at %+v: %v, want damage", at, err)
		}
	}
	if _, err := s.Body(200, Location{Pack: 12345}); !errors.Is(err, ErrNoPack) {
		t.Errorf("in an unknown pack: %v", err)
	}
}

func TestRetiredPackGoesWithItsLastReader(t *testing.T) {
	fs := newMem(t)
	s := mustOpen(t, config(fs))
	p, at := mustWrite(t, s, small())
	b, err := s.Body(100, at[100])
	if err != nil {
		t.Fatal(err)
	}
	release, err := s.Pin(p.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Retire(p.ID, 99); err != nil {
		t.Fatal(err)
	}
	if len(s.Packs()) != 0 {
		t.Error("a retired pack is listed")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	mustRead(t, s, small()[0], at[100]) // pinned still
	release()
	release()
	if _, err := s.Body(100, at[100]); !errors.Is(err, ErrNoPack) {
		t.Errorf("read of a pack that is gone: %v", err)
	}
	if _, err := s.Pin(p.ID); !errors.Is(err, ErrNoPack) {
		t.Errorf("pin of a pack that is gone: %v", err)
	}
	if names := list(t, fs); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
}

func list(t testing.TB, fs vfs.FS) []string {
	t.Helper()
	names, err := fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestClosedSetRemovesNothing(t *testing.T) {
	fs := newMem(t)
	s := mustOpen(t, config(fs))
	p, at := mustWrite(t, s, small())
	b, err := s.Body(100, at[100])
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Retire(p.ID); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Body(100, at[100]); !errors.Is(err, cluster.ErrStopped) {
		t.Errorf("read of a closed set: %v", err)
	}
	if _, err := s.Create(); !errors.Is(err, cluster.ErrStopped) {
		t.Errorf("create in a closed set: %v", err)
	}
	if got := mustOpen(t, config(fs)).Packs(); len(got) != 1 {
		t.Errorf("the next open finds %v", got)
	}
}

// TestOpenTakesMemoryByPackNotByBody: the index knows where bodies are.
func TestOpenTakesMemoryByPackNotByBody(t *testing.T) {
	opened := func(bodies int) int64 {
		fs := newMem(t)
		var all []message
		for i := range bodies {
			all = append(all, made(1, mail.BodyID(i+1), noise(uint64(i), 8)))
		}
		mustWrite(t, mustOpen(t, config(fs)), all)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		mustOpen(t, config(fs))
		runtime.ReadMemStats(&after)
		return int64(after.TotalAlloc - before.TotalAlloc)
	}
	few, many := opened(10), opened(20000)
	if many > few+10000 {
		t.Errorf("opening takes %d octets for 10 bodies, %d for 20,000", few, many)
	}
}

func TestListChangesNothing(t *testing.T) {
	fs := newMem(t)
	if list, err := List(fs, testDir); len(list) != 0 || err != nil {
		t.Errorf("of no directory: %v, %v", list, err)
	}
	s := mustOpen(t, config(fs))
	p, _ := mustWrite(t, s, small())
	unfinished, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	list, err := List(fs, testDir)
	if d := cmp.Diff([]Pack{p}, list); d != "" || err != nil {
		t.Errorf("%v, %s", err, d)
	}
	m := small()[0]
	if _, err := unfinished.Add(m.Entry, bytes.NewReader(m.octets)); err != nil {
		t.Fatal(err)
	}
	if _, err := unfinished.Seal(); err != nil {
		t.Errorf("an unfinished pack was hurt: %v", err)
	}
}
