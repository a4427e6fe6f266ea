package state

import (
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
)

// levelKey has the highest level that anything of this state was made under. It is
// there from level 2 on.
var levelKey = []byte{spaceSlot, 'L'}

// NoteLevel keeps l, which is higher than what was kept.
func NoteLevel(kv KV, l cluster.Level) error {
	var w writer
	w.start()
	w.uint(uint64(l))
	if err := kv.Set(levelKey, w); err != nil {
		return fmt.Errorf("note level %d: %w", l, err)
	}
	return nil
}

// ReachedLevel returns the highest level that anything of this state was made under.
func ReachedLevel(r Reader) (cluster.Level, error) {
	b, err := r.Get(levelKey)
	if err != nil {
		return 0, fmt.Errorf("look up the level of the state: %w", err)
	}
	if b == nil {
		return 1, nil
	}
	var rec reader
	rec.start(b)
	l := cluster.Level(rec.uint32())
	return l, rec.finish("level")
}
