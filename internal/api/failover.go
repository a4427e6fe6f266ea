package api

import (
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// FailoverRequest asks for a forced failover: a copy that is not in sync becomes
// master. PlanOnly shows what that means and changes nothing.
type FailoverRequest struct {
	To cluster.Machine `json:"to,omitempty"` // "": the copy that has most
	// Rev of the plan that was shown: if the record has changed since, nothing happens.
	// Needed but for a plan.
	Rev cluster.Rev `json:"rev,omitempty"`
	// OldIsOff vouches that every machine of the in-sync set is off.
	OldIsOff bool   `json:"old_is_off,omitempty"`
	By       string `json:"by"`
	Reason   string `json:"reason"`
	PlanOnly bool   `json:"plan_only,omitempty"`
}

// FailoverReport says what a forced failover means, or what it did.
type FailoverReport struct {
	Store cluster.Store   `json:"store"`
	Rev   cluster.Rev     `json:"rev"`   // of the record that this was decided on
	Epoch cluster.Epoch   `json:"epoch"` // of that record; when done, the new one
	From  cluster.Machine `json:"from"`  // the master of that record
	To    cluster.Machine `json:"to"`
	LSN   cluster.LSN     `json:"lsn"`       // durable on the copy there
	Ended cluster.Epoch   `json:"lsn_epoch"` // in which its last batch was written
	// Lost are the members of the in-sync set, of which none can take over.
	Lost []LostCopy `json:"lost"`
	// Users live on the store; Forks is how often it was forced before.
	Users []string `json:"users"`
	Forks int      `json:"forks"`
	// Fence tells whether a command would switch the lost machines off, or has.
	Fence    bool    `json:"fence"`
	OldIsOff bool    `json:"old_is_off"`
	WaitSec  float64 `json:"wait_seconds"` // from the appointment to the first change
	Done     bool    `json:"done"`         // false: a plan
}

// LostCopy is a member of the in-sync set that cannot take over.
type LostCopy struct {
	Machine cluster.Machine `json:"machine"`
	Why     string          `json:"why"`
	// LSN was durable there when it was seen last, so long ago; absent if nobody knows.
	LSN     cluster.LSN `json:"lsn,omitempty"`
	SeenSec float64     `json:"seen_seconds,omitempty"`
}

// Tail is what a forced failover left on a machine, and what became of it: messages
// are delivered again, other changes are listed.
type Tail struct {
	Store     cluster.Store   `json:"store"`
	Machine   cluster.Machine `json:"machine"`
	Slot      string          `json:"slot"`
	Name      string          `json:"name"`
	State     string          `json:"state"` // "open", "done"
	From      cluster.LSN     `json:"from"`
	To        cluster.LSN     `json:"to"`
	Epoch     cluster.Epoch   `json:"epoch"`
	Found     int             `json:"found"`
	Delivered int             `json:"delivered"`
	Had       int             `json:"had"`
	Gone      int             `json:"gone"`
	Left      int             `json:"left"`
	Listed    int             `json:"listed"`
	Users     []TailUser      `json:"users"`
	Damage    []string        `json:"damage,omitempty"`
	Error     string          `json:"error,omitempty"`
	Log       string          `json:"log"`
	At        time.Time       `json:"at"`
}

// TailUser is the part of one account.
type TailUser struct {
	Account   string        `json:"account"`
	User      string        `json:"user,omitempty"`
	Store     cluster.Store `json:"store"`
	Found     int           `json:"found"`
	Delivered int           `json:"delivered"`
	Had       int           `json:"had"`
	Gone      int           `json:"gone"`
	Left      int           `json:"left"`
	Listed    int           `json:"listed"`
	Changes   []string      `json:"changes,omitempty"`
	Failed    []string      `json:"failed,omitempty"`
}
