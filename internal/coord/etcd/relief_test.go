package etcd

import "testing"

func TestADatabaseIsMadeSmallerWhenThatIsWorthIt(t *testing.T) {
	for _, tc := range []struct {
		file, used   int64
		alarmed, try bool
		want         relief
	}{
		{10, 1, false, true, nothing},      // small
		{60, 20, false, false, defragment}, // mostly empty
		{60, 40, false, true, nothing},     // mostly in use
		{101, 95, false, true, nothing},    // about to be full
		{101, 95, true, true, defragment},  // full: what it says may be old
		{101, 95, true, false, nothing},    // it was tried a moment ago
		{79, 70, true, true, disarm},       // there is room
		{20, 1, true, false, disarm},       // likewise
		{60, 20, true, false, defragment},  // first things first
	} {
		if got := (Space{tc.file, tc.used, 100}).relief(tc.alarmed, tc.try); got != tc.want {
			t.Errorf("%+v: %d", tc, got)
		}
	}
}
