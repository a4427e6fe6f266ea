package cluster

// Fork is one forced failover of a store: its history parted there.
type Fork struct {
	Epoch Epoch `json:"epoch"` // the forced one
	// LSN is where the history that goes on has no batch of an epoch before any more:
	// what older epochs have there was left. 0 until the forced epoch serves.
	LSN LSN `json:"lsn,omitempty"`
}

// MaxForks bounds the forced failovers of one store, ever. UIDs would last for more,
// the record's size need not.
const MaxForks = 100

// Left returns from where on a history whose newest epoch is e was left by forced
// failovers, of which forks are all; ok is false if none left it, and also as long
// as that is not known.
func Left(forks []Fork, e Epoch) (from LSN, ok bool) {
	for _, f := range forks {
		switch {
		case f.Epoch <= e:
		case f.LSN == 0:
			return 0, false
		case !ok || f.LSN < from:
			from, ok = f.LSN, true
		}
	}
	return from, ok
}

// extendsForks reports whether next has all of old, and what is known of them.
func extendsForks(old, next []Fork) bool {
	if len(next) < len(old) {
		return false
	}
	for i, f := range old {
		if next[i].Epoch != f.Epoch || f.LSN != 0 && next[i].LSN != f.LSN {
			return false
		}
	}
	return true
}
