package pack

import (
	"bytes"
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tandemail/tandemail/internal/mail"
)

// TestPowerLossLeavesTheWholePackOrNone: at every file operation, with every share
// of what was not synced on the disk.
func TestPowerLossLeavesTheWholePackOrNone(t *testing.T) {
	messages := several()
	for _, percent := range []int{0, 50, 100} {
		none, whole := 0, 0
		for at, done := 1, false; !done; at++ {
			mem, count := newMem(t), 0
			var clone *vfs.MemFS
			cut := func() {
				clone = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(at), 1))})
			}
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(errorfs.Op) error {
				if count++; count == at {
					cut()
				}
				return nil
			}))
			p, locations := mustWrite(t, mustOpen(t, config(fs)), messages)
			if done = count < at; done {
				cut() // after Seal has returned
			}
			s := mustOpen(t, config(clone))
			if names := list(t, clone); len(names) != len(s.Packs()) {
				t.Fatalf("%d %%, operation %d: files %v, packs %v", percent, at, names, s.Packs())
			}
			switch packs := s.Packs(); {
			case len(packs) == 0 && !done:
				none++
			case len(packs) == 1 && packs[0] == p:
				whole++
				intact(t, clone, s, p.ID, messages, locations)
			default:
				t.Fatalf("%d %%, operation %d: %+v, want %+v", percent, at, packs, p)
			}
		}
		if none < 4 || whole == 0 {
			t.Errorf("%d %%: %d times none, %d times whole", percent, none, whole)
		}
	}
}

// walk is a set beside an index that refers to bodies in it, durably whenever it is
// changed, as a mover and a collector would have it.
type walk struct {
	t         *testing.T
	rng       *rand.Rand
	mem       *vfs.MemFS
	set       *Set
	live      index
	messages  map[mail.BodyID]message
	next      mail.BodyID
	countdown int
	clone     *vfs.MemFS
	then      index // live, when the power went
}

func (w *walk) open() {
	cfg := config(errorfs.Wrap(w.mem, errorfs.InjectorFunc(func(errorfs.Op) error {
		if w.countdown > 0 {
			if w.countdown--; w.countdown == 0 {
				w.clone, w.then = w.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: w.rng.IntN(101), RNG: w.rng}), maps.Clone(w.live)
			}
		}
		return nil
	})))
	cfg.PackSize = 20000
	cfg.Random = rand.NewChaCha8([32]byte{byte(w.rng.Uint32()), byte(w.rng.Uint32())})
	w.set = mustOpen(w.t, cfg)
	for _, p := range w.set.Packs() {
		if p.Damage != nil {
			w.t.Fatalf("a loss of power is no damage: %v", p.Damage)
		}
	}
	for _, name := range list(w.t, w.mem) {
		if strings.HasSuffix(name, temporarySuffix) {
			w.t.Fatalf("left: %s", name)
		}
	}
}

func (w *walk) move() {
	var batch []message
	for range 1 + w.rng.IntN(20) {
		w.next++
		m := made(byte(w.rng.IntN(4)), w.next, noise(w.rng.Uint64(), w.rng.IntN(3000)>>w.rng.IntN(8)))
		batch = append(batch, m)
		w.messages[m.Body] = m
	}
	slices.SortFunc(batch, func(a, b message) int { return a.Compare(&b.Entry) })
	_, at := mustWrite(w.t, w.set, batch)
	maps.Copy(w.live, at)
}

func (w *walk) collect() {
	var some []ID
	for _, p := range w.set.Packs() {
		if w.rng.IntN(2) == 0 {
			some = append(some, p.ID)
		}
	}
	if _, err := w.set.Rewrite(context.Background(), w.live.rewrite(w.set, some...)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *walk) retire() {
	used := map[ID]bool{}
	for _, at := range w.live {
		used[at.Pack] = true
	}
	for _, p := range w.set.Packs() {
		if !used[p.ID] {
			if err := w.set.Retire(p.ID); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

func (w *walk) step() {
	if w.rng.IntN(3) == 0 {
		w.countdown = 1 + w.rng.IntN(30)
	}
	switch w.rng.IntN(5) {
	case 0, 1:
		w.move()
	case 2:
		w.collect()
	case 3:
		w.retire()
	case 4:
		for id := range w.live {
			if w.rng.IntN(3) == 0 {
				delete(w.live, id)
			}
		}
	}
	w.countdown = 0
	if w.clone != nil {
		w.mem, w.live, w.clone = w.clone, w.then, nil
		w.open()
	}
	for id, at := range w.live {
		_, octets, err := read(w.set, id, at)
		if err != nil || !bytes.Equal(octets, w.messages[id].octets) {
			w.t.Fatalf("body %d at %+v: %v", id, at, err)
		}
	}
}

func TestBodiesSurviveMovesCollectionsAndPowerLoss(t *testing.T) {
	for seed := range uint64(30) {
		w := &walk{t: t, rng: rand.New(rand.NewPCG(seed, 5)), mem: newMem(t), live: index{}, messages: map[mail.BodyID]message{}}
		w.open()
		for range 60 {
			w.step()
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
