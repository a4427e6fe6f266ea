package index

// hot remembers what the applier read or wrote last, absences too: each delivery
// reads and rewrites the same account and mailbox records. It belongs to the
// applier and is exact, because only the applier writes.
//
// Two generations: when the young one is full it becomes the old one, and what was
// not asked for in between is forgotten.
type hot struct {
	young, old map[string][]byte
	size       int // octets in young
}

// hotSize is when a generation is full; hotValue the largest value remembered.
const (
	hotSize  = 512 << 10
	hotValue = 4 << 10
	hotEntry = 64 // what an entry costs beside its octets, about
)

func newHot() *hot { return &hot{young: make(map[string][]byte)} }

func (h *hot) get(key []byte) (value []byte, ok bool) {
	if v, ok := h.young[string(key)]; ok {
		return v, true
	}
	v, ok := h.old[string(key)]
	if ok {
		h.put(string(key), v)
	}
	return v, ok
}

// put remembers that key has value, nil for none.
func (h *hot) put(key string, value []byte) {
	if len(value) > hotValue {
		h.drop(key)
		return
	}
	if h.size += len(key) + len(value) + hotEntry; h.size > hotSize {
		h.young, h.old, h.size = make(map[string][]byte), h.young, 0
	}
	h.young[key] = value
}

// drop forgets what key has.
func (h *hot) drop(key string) {
	delete(h.young, key)
	delete(h.old, key)
}
