package session

import "github.com/tandemail/tandemail/internal/mail"

// Sum tells two sets of UIDs apart, but for a chance of one in 2^64. Adding and
// removing a UID cost the same whatever the size of the set, which a CRC of the
// list would not. Its zero value is that of the empty set.
type Sum uint64

// Add returns the sum of the set with u, which was not in it.
func (s Sum) Add(u mail.UID) Sum { return s + Sum(mix(uint64(u))) }

// Remove returns the sum of the set without u, which was in it.
func (s Sum) Remove(u mail.UID) Sum { return s - Sum(mix(uint64(u))) }

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood 2014).
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
