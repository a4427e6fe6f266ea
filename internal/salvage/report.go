package salvage

import (
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// Report is what Run did. Its JSON form is stable.
type Report struct {
	To string `json:"to"`
	// Complete: every message that the slots held was written, as far as anything tells.
	Complete bool          `json:"complete"`
	Slots    []*SlotReport `json:"slots"`
}

// SlotReport is of one slot.
type SlotReport struct {
	From    []string      `json:"from"` // its directories
	To      string        `json:"to"`
	Cluster string        `json:"cluster,omitempty"`
	Store   cluster.Store `json:"store,omitempty"`
	Slot    string        `json:"slot,omitempty"`
	// Snapshot is the position of the one that was used, 0 if none was.
	Snapshot cluster.LSN `json:"snapshot_lsn"`
	// LSN is the position whose mailboxes were written; 0: what packs say of themselves.
	LSN      cluster.LSN      `json:"lsn"`
	Complete bool             `json:"complete"`
	Accounts []*AccountReport `json:"accounts"`
	Messages int              `json:"messages"`
	Octets   int64            `json:"octets"`
	// Damage says what could not be read or used; the first thousand.
	Damage      []string `json:"damage,omitempty"`
	DamageCount int      `json:"damage_count"`
	// Lost are messages that were not written; the first ten thousand.
	Lost      []Lost `json:"lost,omitempty"`
	LostCount int    `json:"lost_count"`
}

// AccountReport is of one account.
type AccountReport struct {
	Account   string `json:"account"`
	Address   string `json:"address,omitempty"`
	To        string `json:"to"`
	Mailboxes int    `json:"mailboxes"`
	Messages  int    `json:"messages"`
	Octets    int64  `json:"octets"`
	// Unplaced of the messages are from behind a hole: where they are, and their flags,
	// is as they came in.
	Unplaced int `json:"unplaced,omitempty"`
}

// Lost is a message whose octets could not be read.
type Lost struct {
	Account string   `json:"account"`
	Address string   `json:"address,omitempty"`
	Mailbox string   `json:"mailbox"`
	UID     mail.UID `json:"uid,omitempty"`
	Why     string   `json:"why"`
}

const (
	maxDamage = 1000
	maxLost   = 10_000
)

func (r *SlotReport) damaged(why error) {
	if r.DamageCount++; len(r.Damage) < maxDamage {
		r.Damage = append(r.Damage, why.Error())
	}
}

func (r *SlotReport) lost(l Lost) {
	r.Complete = false
	if r.LostCount++; len(r.Lost) < maxLost {
		r.Lost = append(r.Lost, l)
	}
}

// incomplete notes something that may have cost messages nobody can name.
func (r *SlotReport) incomplete(format string, args ...any) {
	r.Complete = false
	r.damaged(fmt.Errorf(format, args...))
}
