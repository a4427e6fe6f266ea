package agent

import (
	"errors"
	"os"
	"strings"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/slot"
)

// lookAround reads what the slots on the disks here claim, whether a record names
// them or not: a coordinator that was wiped names none.
func (a *Agent) lookAround() {
	dir := a.cfg.FS.PathJoin(a.cfg.Meta, "slots")
	names, err := a.cfg.FS.List(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		a.log.Error("slots on disk cannot be listed", "err", err)
		return
	}
	claims := map[cluster.SlotID]slot.Claim{}
	for _, name := range names {
		if strings.Contains(name, ".unfinished") {
			continue
		}
		c, err := slot.ReadClaim(a.cfg.FS, a.cfg.FS.PathJoin(dir, name))
		if err != nil {
			a.log.Debug("directory holds no readable slot", "store", name, "err", err)
			continue
		}
		claims[c.Slot] = c
	}
	a.mu.Lock()
	a.claims = claims
	a.mu.Unlock()
}

// unopened are the claims of slots that do not say for themselves what they know.
// Called with the lock held.
func (a *Agent) unopened() (list []slot.Claim) {
	for id, c := range a.claims {
		if r := a.slots[id]; r == nil || r.Slot.Status().Record.Store == "" {
			list = append(list, c)
		}
	}
	return list
}
