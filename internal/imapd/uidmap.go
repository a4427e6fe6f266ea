package imapd

import (
	"slices"
	"sort"

	"github.com/tandemail/tandemail/internal/mail"
)

// maxUID is the largest UID there can be.
const maxUID = mail.UID(1<<32 - 1)

// uidMap is the messages of a session's picture: UIDs in ascending order, and
// with them their message numbers, from 1. It keeps runs of consecutive UIDs, 12
// octets each, so that a mailbox of any size without gaps costs nothing, and one
// where every other message is gone costs 12 octets a message.
type uidMap struct {
	runs   []uidRun
	common *commonRuns // whose runs they are, if they are not its own
}

// own makes the runs its own, to be changed.
func (m *uidMap) own() {
	if m.common != nil {
		m.runs, m.common = slices.Clone(m.runs), nil
	}
}

type uidRun struct {
	lo, hi mail.UID
	before uint32 // messages before lo
}

func (m *uidMap) len() int {
	if n := len(m.runs); n > 0 {
		r := m.runs[n-1]
		return int(r.before) + int(r.hi-r.lo) + 1
	}
	return 0
}

// max is the largest UID, 0 if there is none.
func (m *uidMap) max() mail.UID {
	if n := len(m.runs); n > 0 {
		return m.runs[n-1].hi
	}
	return 0
}

// add adds u, which is above all others.
func (m *uidMap) add(u mail.UID) {
	m.own()
	n := len(m.runs)
	if n > 0 && m.runs[n-1].hi+1 == u {
		m.runs[n-1].hi = u
		return
	}
	m.runs = append(m.runs, uidRun{u, u, uint32(m.len())})
}

// find is the place of the first run that ends at u or later.
func (m *uidMap) find(u mail.UID) int {
	return sort.Search(len(m.runs), func(i int) bool { return m.runs[i].hi >= u })
}

// number is the message number of u, 0 if it is not there.
func (m *uidMap) number(u mail.UID) uint32 {
	i := m.find(u)
	if i == len(m.runs) || m.runs[i].lo > u {
		return 0
	}
	return m.runs[i].before + uint32(u-m.runs[i].lo) + 1
}

// numbers are the UIDs of the messages numbered lo to hi, which exist.
func (m *uidMap) numbers(lo, hi uint32) mail.UIDSet {
	var set mail.UIDSet
	first, last := lo-1, hi-1 // as places from 0
	i := sort.Search(len(m.runs), func(i int) bool { return m.runs[i].before > first }) - 1
	for ; i < len(m.runs) && m.runs[i].before <= last; i++ {
		r := m.runs[i]
		from, to := r.lo, r.hi
		if first > r.before {
			from += mail.UID(first - r.before)
		}
		if rest := mail.UID(last - r.before); rest < r.hi-r.lo {
			to = r.lo + rest
		}
		set = append(set, mail.UIDRange{Lo: from, Hi: to})
	}
	return set
}

// all is every UID.
func (m *uidMap) all() mail.UIDSet {
	set := make(mail.UIDSet, len(m.runs))
	for i, r := range m.runs {
		set[i] = mail.UIDRange{Lo: r.lo, Hi: r.hi}
	}
	return set
}

// among is those of set that are there.
func (m *uidMap) among(set mail.UIDSet) mail.UIDSet {
	var out mail.UIDSet
	for _, q := range set {
		for i := m.find(q.Lo); i < len(m.runs) && m.runs[i].lo <= q.Hi; i++ {
			out = append(out, mail.UIDRange{Lo: max(q.Lo, m.runs[i].lo), Hi: min(q.Hi, m.runs[i].hi)})
		}
	}
	return out
}

// remove removes set, all of which is there.
func (m *uidMap) remove(set mail.UIDSet) {
	if len(set) == 0 {
		return
	}
	m.own()
	i := m.find(set[0].Lo)
	tail := slices.Clone(m.runs[i:])
	before := tail[0].before
	m.runs = m.runs[:i]
	keep := func(lo, hi mail.UID) {
		m.runs = append(m.runs, uidRun{lo, hi, before})
		before += uint32(hi-lo) + 1
	}
	for _, r := range tail {
		lo := r.lo
		for len(set) > 0 && set[0].Lo <= r.hi {
			if lo < set[0].Lo {
				keep(lo, set[0].Lo-1)
			}
			lo = set[0].Hi + 1 // 0 after the largest UID there can be: see below
			set = set[1:]
		}
		if lo <= r.hi && lo != 0 {
			keep(lo, r.hi)
		}
	}
}
