package slot

import (
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Claim is what a slot knows of its store's record: what a coordinator that lost it
// is recovered from.
type Claim struct {
	Store    cluster.Store       `json:"store"`
	Slot     cluster.SlotID      `json:"slot"`
	Record   cluster.StoreRecord `json:"record"`
	Rev      cluster.Rev         `json:"rev"`
	CoordRev cluster.Rev         `json:"coord_rev"`
}

// ReadClaim reads what the slot in a meta directory claims, open or not. A slot that
// never saw a record claims an empty one.
func ReadClaim(fs vfs.FS, meta string) (Claim, error) {
	var id Identity
	if err := readSealed(fs, meta, identityFile, &id); err != nil {
		return Claim{}, err
	}
	a, err := readAdopted(fs, meta)
	c := Claim{Store: id.Store, Slot: id.Slot, Rev: a.Rev, CoordRev: a.CoordRev}
	if a.Record != nil {
		c.Record = *a.Record
	}
	return c, err
}

// Higher reports whether c knows more than o, which is of the same store.
func (c *Claim) Higher(o *Claim) bool {
	switch a, b := &c.Record, &o.Record; {
	case a.Generation != b.Generation:
		return a.Generation > b.Generation
	case a.Epoch != b.Epoch:
		return a.Epoch > b.Epoch
	}
	return c.Rev > o.Rev
}
