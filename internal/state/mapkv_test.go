package state

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// contents is all pairs of r as text, by Scan and, as a check, by Get.
func contents(t tester, r Reader, lo, hi string) string {
	t.Helper()
	var b strings.Builder
	var pairs [][2]string
	for k, v := range r.Scan([]byte(lo), []byte(hi)) {
		pairs = append(pairs, [2]string{string(k), string(v)})
	}
	for _, p := range pairs {
		if got, err := r.Get([]byte(p[0])); err != nil || string(got) != p[1] {
			t.Errorf("get %q: %q, %v; scanned %q", p[0], got, err, p[1])
		}
		fmt.Fprintf(&b, "%s=%s ", p[0], p[1])
	}
	return b.String()
}

// TestOverlayIsTheBaseWithItsChanges: an overlay shows what a map with the same
// changes shows, and its base stays.
func TestOverlayIsTheBaseWithItsChanges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		keys := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"})
		base := NewMapKV()
		change := func(kvs ...KV) {
			k, del, v := keys.Draw(rt, "key"), rapid.Bool().Draw(rt, "delete"), rapid.StringN(0, 2, 8).Draw(rt, "value")
			for _, kv := range kvs {
				if del {
					_ = kv.Delete([]byte(k))
				} else {
					_ = kv.Set([]byte(k), []byte(v))
				}
			}
		}
		for range rapid.IntRange(0, 6).Draw(rt, "before") {
			change(base)
		}
		before := contents(rt, base, "", "z")
		want, over := base.Snapshot(), newOverlay(base)
		for range rapid.IntRange(0, 8).Draw(rt, "changes") {
			change(want, over)
		}
		lo, hi := keys.Draw(rt, "lo"), keys.Draw(rt, "hi")
		equal(rt, "all", contents(rt, over, "", "z"), contents(rt, want, "", "z"))
		equal(rt, "part", contents(rt, over, lo, hi), contents(rt, want, lo, hi))
		equal(rt, "base", contents(rt, base, "", "z"), before)
		for k := range over.Scan(nil, []byte("z")) {
			equal(rt, "first of a scan that stops", string(k), contents(rt, want, "", "z")[:1])
			break
		}
	})
}

func TestSnapshotsDoNotSeeEachOther(t *testing.T) {
	kv := NewMapKV()
	_ = kv.Set([]byte("a"), []byte("1"))
	old := kv.Snapshot()
	_ = kv.Set([]byte("a"), []byte("2"))
	_ = kv.Set([]byte("b"), nil)
	_ = old.Set([]byte("c"), []byte("3"))
	equal(t, "writer", contents(t, kv, "", "z"), "a=2 b= ")
	equal(t, "snapshot", contents(t, old, "", "z"), "a=1 c=3 ")
	if v, _ := kv.Get([]byte("b")); v == nil {
		t.Error("an empty value is no value")
	}
}
