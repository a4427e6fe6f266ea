package index

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestDerivedIsVersionedAndApart(t *testing.T) {
	d := closing(t, mustOpen(t, Config{FS: vfs.NewMem(), Dir: "index"}))
	v := d.Derived()
	var wg sync.WaitGroup
	for i := range 8 { // sessions, beside the applier
		wg.Go(func() {
			for n := range 20 {
				if err := v.Set(3, fmt.Appendf(nil, "%d/%d", i, n), []byte{byte(n)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for n := range 20 {
		commit(t, d, n+1, "a", fmt.Sprint(n))
	}
	wg.Wait()
	get := func(version uint32, want [][]byte, keys ...string) {
		t.Helper()
		var list [][]byte
		for _, k := range keys {
			list = append(list, []byte(k))
		}
		if got := v.Get(version, list...); !reflect.DeepEqual(got, want) {
			t.Errorf("version %d of %q: %v, want %v", version, keys, got, want)
		}
	}
	get(3, [][]byte{{7}}, "5/7")
	get(4, [][]byte{nil}, "5/7") // another version's value
	get(3, [][]byte{{3}, nil, {19}, {3}, nil, {0}}, "7/3", "7/", "5/19", "7/3", "9", "0/0")
	get(4, [][]byte{nil, nil}, "7/3", "5/19")
	if d.Applied() != at(20) {
		t.Errorf("applied %+v", d.Applied())
	}
}

// TestDerivedIsForgottenUnlessItIsUsed holds that a value lives through the era after the
// one in which it was set or read last, and no longer.
func TestDerivedIsForgottenUnlessItIsUsed(t *testing.T) {
	fs := vfs.NewMem()
	d := mustOpen(t, Config{FS: fs, Dir: "index"})
	v := d.Derived()
	turn := func(era uint32) {
		t.Helper()
		if err := v.Turn(era); err != nil {
			t.Fatal(err)
		}
	}
	set := func(key string) {
		t.Helper()
		if err := v.Set(1, []byte(key), []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	has := func(want string, keys ...string) {
		t.Helper()
		var list [][]byte
		for _, k := range keys {
			list = append(list, []byte(k))
		}
		got := ""
		for i, b := range v.Get(1, list...) {
			if b != nil {
				got += string(b)
				if string(b) != keys[i] {
					t.Errorf("%q has %q", keys[i], b)
				}
			}
		}
		if got != want {
			t.Errorf("of %q there are %q, want %q", keys, got, want)
		}
	}
	set("o") // before anybody has said what era it is
	turn(7)
	has("", "o")
	set("a")
	set("b")
	set("c")
	turn(7)
	turn(8)
	set("d")
	has("ad", "a", "d", "x")
	has("c", "c")
	turn(9)
	has("acd", "a", "b", "c", "d")
	turn(11) // nobody was there in the tenth
	has("", "a", "b", "c", "d")
	set("e")
	turn(4) // the clock was wrong
	has("", "e")
	set("f")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = closing(t, mustOpen(t, Config{FS: fs, Dir: "index"}))
	v = d.Derived()
	turn(5)
	has("f", "a", "e", "f")
	commit(t, d, 1, "k", "v") // what is not derived stays
	turn(6)
	turn(20)
	if s, err := d.Snapshot(); err != nil {
		t.Error(err)
	} else if b, err := s.Get([]byte("k")); string(b) != "v" || err != nil || s.Close() != nil {
		t.Errorf("the state has %q, %v", b, err)
	}
}

// BenchmarkDerived reads values of 900 octets, some at a time, in the order of their keys.
func BenchmarkDerived(b *testing.B) {
	d, err := Open(Config{FS: vfs.Default, Dir: b.TempDir(), Shared: NewShared(256<<20, 100)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	})
	var keys [][]byte
	for i := range 20_000 {
		k := binary.BigEndian.AppendUint64(nil, uint64(i))
		if err := d.Derived().Set(1, k, make([]byte, 900)); err != nil {
			b.Fatal(err)
		}
		keys = append(keys, k)
	}
	if _, err := d.Flush(); err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			i := 0
			for b.Loop() {
				if i += n; i+n > len(keys) {
					i = 0
				}
				if got := d.Derived().Get(1, keys[i:i+n]...); got[0] == nil {
					b.Fatal("it is not there")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/value")
		})
	}
}
