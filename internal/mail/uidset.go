package mail

import (
	"cmp"
	"iter"
	"slices"
	"strconv"
)

// UIDRange is the UIDs Lo to Hi, both included. Lo <= Hi.
type UIDRange struct{ Lo, Hi UID }

// Len returns how many UIDs r spans.
func (r UIDRange) Len() int { return int(r.Hi-r.Lo) + 1 }

// UIDSet is a sorted list of ranges that neither touch nor overlap.
// The zero value is empty. Only Add and NewUIDSet build one.
type UIDSet []UIDRange

// NewUIDSet returns the set of the given ranges, in any order, overlapping or not.
func NewUIDSet(ranges ...UIDRange) UIDSet {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b UIDRange) int { return cmp.Compare(a.Lo, b.Lo) })
	var s UIDSet
	for _, r := range sorted {
		s = s.append(r)
	}
	return s
}

// append adds r, whose Lo is not below that of the last range.
func (s UIDSet) append(r UIDRange) UIDSet {
	if n := len(s); n > 0 && uint64(r.Lo) <= uint64(s[n-1].Hi)+1 {
		s[n-1].Hi = max(s[n-1].Hi, r.Hi)
		return s
	}
	return append(s, r)
}

// Add returns s with u. Cheap when u is not below the highest of s.
func (s UIDSet) Add(u UID) UIDSet {
	if n := len(s); n == 0 || u >= s[n-1].Lo {
		return s.append(UIDRange{u, u})
	}
	if s.Contains(u) {
		return s
	}
	return NewUIDSet(append(slices.Clone(s), UIDRange{u, u})...)
}

// Contains reports whether u is in s.
func (s UIDSet) Contains(u UID) bool {
	i, found := slices.BinarySearchFunc(s, u, func(r UIDRange, u UID) int {
		switch {
		case r.Hi < u:
			return -1
		case r.Lo > u:
			return 1
		}
		return 0
	})
	return found && i < len(s)
}

// Union returns what is in s or in o.
func (s UIDSet) Union(o UIDSet) UIDSet {
	return NewUIDSet(append(slices.Clone(s), o...)...)
}

// Minus returns what is in s and not in o.
func (s UIDSet) Minus(o UIDSet) UIDSet {
	var out UIDSet
	for _, r := range s {
		lo := uint64(r.Lo)
		for len(o) > 0 && o[0].Hi < r.Lo {
			o = o[1:]
		}
		for _, cut := range o {
			if cut.Lo > r.Hi {
				break
			}
			if lo < uint64(cut.Lo) {
				out = append(out, UIDRange{UID(lo), cut.Lo - 1})
			}
			lo = uint64(cut.Hi) + 1
		}
		if lo <= uint64(r.Hi) {
			out = append(out, UIDRange{UID(lo), r.Hi})
		}
	}
	return out
}

// Len returns how many UIDs are in s.
func (s UIDSet) Len() int {
	n := 0
	for _, r := range s {
		n += r.Len()
	}
	return n
}

// All yields the UIDs of s, ascending.
func (s UIDSet) All() iter.Seq[UID] {
	return func(yield func(UID) bool) {
		for _, r := range s {
			for u := uint64(r.Lo); u <= uint64(r.Hi); u++ {
				if !yield(UID(u)) {
					return
				}
			}
		}
	}
}

// AppendText appends s in IMAP's form, "1:4,7".
func (s UIDSet) AppendText(dst []byte) ([]byte, error) {
	for i, r := range s {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(r.Lo), 10)
		if r.Hi != r.Lo {
			dst = append(dst, ':')
			dst = strconv.AppendUint(dst, uint64(r.Hi), 10)
		}
	}
	return dst, nil
}

// String is IMAP's form, "1:4,7".
func (s UIDSet) String() string {
	b, _ := s.AppendText(nil)
	return string(b)
}
