package cluster

import "slices"

// Skip gives up one operation of a store's journal that its copies cannot apply.
type Skip struct {
	LSN    LSN    `json:"lsn"` // of the operation's record
	By     string `json:"by"`
	Reason string `json:"reason"`
}

// Bounds that keep a record well below what one frame of the replication
// protocol carries.
const (
	MaxSkips    = 100 // of one store, ever
	MaxSkipText = 200 // octets of who and of why
)

// Skips reports whether the operation at lsn is among those given up.
func Skips(list []Skip, lsn LSN) bool {
	return slices.ContainsFunc(list, func(s Skip) bool { return s.LSN == lsn })
}
