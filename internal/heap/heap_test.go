package heap

import (
	"bytes"
	"testing"
)

// failed notes that a test would fail.
type failed struct {
	testing.TB
	yes bool
}

func (f *failed) Helper()               {}
func (f *failed) Errorf(string, ...any) { f.yes = true }

func TestWhatIsGivenBackCountsToo(t *testing.T) {
	for times, fails := range map[int]bool{2: false, 40: true} {
		f := &failed{TB: t}
		n := 0
		Within(f, 4<<20, func() {
			for range times {
				n += len(bytes.Repeat([]byte("x"), 1<<20))
			}
		})
		if f.yes != fails {
			t.Errorf("%d MiB in all: failed %v", n>>20, f.yes)
		}
	}
}
