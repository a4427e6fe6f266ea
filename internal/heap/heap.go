// Package heap holds code that takes in what anybody may send to a bound of memory.
// It is for tests: what it measures is the whole process.
package heap

import (
	"runtime"
	"testing"
)

// Within runs f and fails the test if that took more than limit octets of heap, those
// counted too that were given back meanwhile: so it bounds the work as well. Nothing else
// may run beside it.
func Within(t testing.TB, limit int, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > uint64(limit) {
		t.Errorf("took %d octets of memory, not %d at most", took, limit)
	}
}
