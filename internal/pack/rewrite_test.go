package pack

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// index is what the caller of a set keeps: where each live body is.
type index map[mail.BodyID]Location

// rewrite collects packs for the index.
func (x index) rewrite(s *Set, packs ...ID) Rewrite {
	return Rewrite{
		Packs: packs,
		Keep:  func(e Stored) (bool, error) { return x[e.Body] == e.Location, nil },
		Publish: func(p Pack) error {
			for e, err := range s.Entries(p.ID) {
				if err != nil {
					return err
				}
				if _, live := x[e.Body]; live {
					x[e.Body] = e.Location
				}
			}
			return nil
		},
	}
}

func split(all []message) (odd, even []message) {
	for i, m := range all {
		if i%2 == 0 {
			even = append(even, m)
		} else {
			odd = append(odd, m)
		}
	}
	return odd, even
}

func TestRewriteKeepsWhatIsAliveAndRetiresTheRest(t *testing.T) {
	fs := newMem(t)
	s := mustOpen(t, config(fs))
	odd, even := split(assortment())
	p, atOdd := mustWrite(t, s, odd)
	q, atEven := mustWrite(t, s, even)
	x := index{}
	var live []message
	for i, m := range assortment() {
		if i%3 > 0 {
			live = append(live, m)
			if x[m.Body] = atOdd[m.Body]; i%2 == 0 {
				x[m.Body] = atEven[m.Body]
			}
		}
	}
	octets := 0
	what := x.rewrite(s, p.ID, q.ID)
	what.Limit = func(_ context.Context, n int) error {
		if octets += n; n > 1<<20 {
			t.Errorf("asked for %d octets at once", n)
		}
		return nil
	}
	old, err := s.Body(live[0].Body, x[live[0].Body])
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Rewrite(t.Context(), what)
	if err != nil || len(res.New) != 1 || !slices.Equal(res.Retired, []ID{p.ID, q.ID}) || res.Damaged != nil {
		t.Fatalf("%+v, %v", res, err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if names := list(t, fs); !slices.Equal(names, []string{res.New[0].ID.fileName()}) {
		t.Errorf("files: %v", names)
	}
	intact(t, fs, s, res.New[0].ID, live, stored(x))
	if n := res.New[0].Stored; n != int64(octets) {
		t.Errorf("limited to %d octets, wrote %d", octets, n)
	}
}

func TestRewriteMakesAsManyPacksAsItTakes(t *testing.T) {
	cfg := config(newMem(t))
	cfg.PackSize = 100 << 10
	s := mustOpen(t, cfg)
	x := index{}
	var all []message
	for i := range 40 {
		all = append(all, made(byte(i/10), mail.BodyID(i+1), noise(uint64(i), 10<<10)))
	}
	p, at := mustWrite(t, s, all)
	for id, l := range at {
		x[id] = l
	}
	res, err := s.Rewrite(t.Context(), x.rewrite(s, p.ID))
	if err != nil || len(res.New) < 4 || len(res.New) > 5 || len(s.Packs()) != len(res.New) {
		t.Fatalf("%+v, %v", res, err)
	}
	for _, m := range all {
		mustRead(t, s, m, x[m.Body])
	}
}

// TestReadersGoOnDuringCollections: whoever finds the pack gone looks again.
func TestReadersGoOnDuringCollections(t *testing.T) {
	s := mustOpen(t, config(newMem(t)))
	p, at := mustWrite(t, s, small())
	var mu sync.Mutex
	x := index(at)
	look := func(id mail.BodyID) Location {
		mu.Lock()
		defer mu.Unlock()
		return x[id]
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for reads := 0; ; reads++ {
				select {
				case <-done:
					return
				default:
				}
				m := small()[reads%len(small())]
				at := look(m.Body)
				_, octets, err := read(s, m.Body, at)
				if errors.Is(err, ErrNoPack) && look(m.Body) != at {
					continue
				}
				if err != nil || !bytes.Equal(octets, m.octets) {
					t.Errorf("body %d at %+v: %v", m.Body, at, err)
					return
				}
			}
		})
	}
	for range 50 {
		what := x.rewrite(s, p.ID)
		publish := what.Publish
		what.Publish = func(p Pack) error {
			mu.Lock()
			defer mu.Unlock()
			return publish(p)
		}
		res, err := s.Rewrite(t.Context(), what)
		if err != nil || len(res.Retired) != 1 {
			t.Errorf("%+v, %v", res, err)
			break
		}
		p = res.New[0]
	}
	close(done)
	readers.Wait()
}

func TestRewriteOfNothingAliveMakesNoPack(t *testing.T) {
	fs := newMem(t)
	s := mustOpen(t, config(fs))
	p, _ := mustWrite(t, s, small())
	res, err := s.Rewrite(t.Context(), index{}.rewrite(s, p.ID))
	if err != nil || len(res.New) != 0 || len(res.Retired) != 1 || len(list(t, fs)) != 0 {
		t.Fatalf("%+v, %v; files %v", res, err, list(t, fs))
	}
}

// TestRewriteNeitherCopiesNorDropsADamagedBody: of one frame, and of several, part of
// which may have been written when it shows.
func TestRewriteNeitherCopiesNorDropsADamagedBody(t *testing.T) {
	long := made(2, 70, noise(5, 9*FrameSize))
	messages := append(slices.Clone(small()[:4]), long, small()[4])
	for _, c := range []struct {
		body mail.BodyID
		at   func(Location) int64 // in the file
	}{
		{100, func(l Location) int64 { return l.Offset }},
		{100, func(l Location) int64 { return l.Offset + l.Size - 1 }},
		{70, func(l Location) int64 { return l.Offset + 100 }},
		{70, func(l Location) int64 { return l.Offset + l.Size/2 }},
		{70, func(l Location) int64 { return l.Offset + l.Size - 1 }},
	} {
		sp := specimenOf(t, messages)
		sp.octets[c.at(sp.at[c.body])] ^= 1
		fs := newMem(t)
		place(t, fs, sp.id, sp.octets)
		s := mustOpen(t, config(fs))
		x := index{}
		for id, at := range sp.at {
			x[id] = at
		}
		res, err := s.Rewrite(t.Context(), x.rewrite(s, sp.id))
		var d *Damage
		if err != nil || len(res.New) != 1 || res.Retired != nil || len(res.Damaged) != 1 || !errors.As(res.Damaged[0], &d) || d.Body != c.body {
			t.Fatalf("body %d: %+v, %v", c.body, res, err)
		}
		whole := slices.DeleteFunc(slices.Clone(messages), func(m message) bool { return m.Body == c.body })
		for _, m := range whole {
			if x[m.Body].Pack != res.New[0].ID {
				t.Errorf("body %d was not moved", m.Body)
			}
			mustRead(t, s, m, x[m.Body])
		}
		if x[c.body] != sp.at[c.body] || !bytes.Equal(contents(t, fs, sp.id), sp.octets) {
			t.Errorf("body %d: the damaged octets are not where they were", c.body)
		}
		for _, f := range scanAll(t, fs, res.New[0].ID) {
			if f.err != nil || f.Entry.Body == c.body {
				t.Errorf("body %d in the new pack: %v", f.Entry.Body, f.err)
			}
		}
		repair(t, s, x, messages, c.body)
		res, err = s.Rewrite(t.Context(), x.rewrite(s, sp.id))
		if err != nil || len(res.New) != 0 || len(res.Retired) != 1 {
			t.Errorf("after the repair: %+v, %v", res, err)
		}
	}
}

// repair adds a body again, as if from the partner.
func repair(t *testing.T, s *Set, x index, messages []message, id mail.BodyID) {
	t.Helper()
	i := slices.IndexFunc(messages, func(m message) bool { return m.Body == id })
	_, at := mustWrite(t, s, messages[i:i+1])
	x[id] = at[id]
}

// TestRewriteKeepsAPackWithAHole: with the table of contents gone as well, nobody
// knows what was in it.
func TestRewriteKeepsAPackWithAHole(t *testing.T) {
	sp := specimenOf(t, small())
	sp.octets[sp.at[200].Offset] ^= 1
	sp.octets[len(sp.octets)-1] ^= 1
	fs := newMem(t)
	place(t, fs, sp.id, sp.octets)
	s := mustOpen(t, config(fs))
	if p := s.Packs()[0]; p.Damage == nil || p.Entries != len(small())-1 {
		t.Errorf("summary %+v", p)
	}
	res, err := s.Rewrite(t.Context(), index{}.rewrite(s, sp.id))
	if err != nil || res.Retired != nil || len(res.Damaged) != 1 || !errors.Is(res.Damaged[0], cluster.ErrDamaged) {
		t.Errorf("%+v, %v", res, err)
	}
	if err := s.Retire(sp.id); err != nil || len(list(t, fs)) != 0 { // somebody decided
		t.Errorf("left %v, %v", list(t, fs), err)
	}
}

func TestFailedRewriteRetiresNothing(t *testing.T) {
	broken := errors.New("index is broken")
	for name, c := range map[string]struct {
		change func(*Rewrite, context.CancelFunc)
		full   bool
		want   error
		files  int
	}{
		"keep":    {func(r *Rewrite, _ context.CancelFunc) { r.Keep = func(Stored) (bool, error) { return false, broken } }, false, broken, 1},
		"publish": {func(r *Rewrite, _ context.CancelFunc) { r.Publish = func(Pack) error { return broken } }, false, broken, 2},
		"cancel": {func(r *Rewrite, cancel context.CancelFunc) {
			r.Limit = func(ctx context.Context, _ int) error { cancel(); return ctx.Err() }
		}, false, context.Canceled, 1},
		"no space": {func(*Rewrite, context.CancelFunc) {}, true, cluster.ErrFull, 1},
		"no pack":  {func(r *Rewrite, _ context.CancelFunc) { r.Packs = append(r.Packs, 77) }, false, ErrNoPack, 1},
	} {
		full := false
		mem := newMem(t)
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if full && op.Kind == errorfs.OpFileWrite {
				return syscall.ENOSPC
			}
			return nil
		}))
		s := mustOpen(t, config(fs))
		p, at := mustWrite(t, s, small())
		x := index{}
		for id, l := range at {
			x[id] = l
		}
		full = c.full
		ctx, cancel := context.WithCancel(t.Context())
		what := x.rewrite(s, p.ID)
		c.change(&what, cancel)
		res, err := s.Rewrite(ctx, what)
		cancel()
		if !errors.Is(err, c.want) || res.Retired != nil || len(list(t, mem)) != c.files {
			t.Errorf("%s: %+v, %v; files %v", name, res, err, list(t, mem))
		}
		for _, m := range small() {
			mustRead(t, s, m, at[m.Body])
		}
	}
}

func TestScrubGoesOnWhereAskedAndAsItMay(t *testing.T) {
	s := mustOpen(t, config(newMem(t)))
	for range 3 {
		mustWrite(t, s, small())
	}
	from, octets := s.Packs()[1].ID, int64(0)
	limit := func(_ context.Context, n int) error { octets += int64(n); return nil }
	var got []ID
	for e, err := range s.Scrub(t.Context(), from, limit) {
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 { // retired while it is under way
			if err := s.Retire(s.Packs()[2].ID); err != nil {
				t.Fatal(err)
			}
		}
		got = append(got, e.Pack)
	}
	if n := len(small()); len(got) != n || slices.Min(got) != from || octets != s.Packs()[1].Stored {
		t.Errorf("scrubbed %v, %d octets", got, octets)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.Scrub(ctx, 0, nil) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

func TestMissingFileIsDamage(t *testing.T) {
	fs := newMem(t)
	s := mustOpen(t, config(fs))
	p, at := mustWrite(t, s, small())
	if err := fs.Remove(vfs.Default.PathJoin(testDir, p.ID.fileName())); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Body(100, at[100]); !errors.Is(err, cluster.ErrDamaged) {
		t.Errorf("read: %v", err)
	}
	for _, err := range s.Scrub(t.Context(), 0, nil) {
		if !errors.Is(err, cluster.ErrDamaged) {
			t.Errorf("scrub: %v", err)
		}
	}
}
