package api

import (
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
)

// Retention is how long what was deleted can come back.
type Retention struct {
	Hours   float64 `json:"hours"`
	Default bool    `json:"default,omitempty"` // nobody has set it
	By      string  `json:"by,omitempty"`      // who sets it
}

// DeletedUser is one who can come back.
type DeletedUser struct {
	Address string        `json:"user"`
	Account string        `json:"account"`
	Store   cluster.Store `json:"store"`
	At      time.Time     `json:"deleted_at"`
	By      string        `json:"by,omitempty"`
	Until   time.Time     `json:"until"`
}

// UndeleteRequest asks for what was deleted. Account brings a deleted user back, and
// nothing else.
type UndeleteRequest struct {
	Account  bool      `json:"account,omitempty"`
	Mailbox  string    `json:"mailbox,omitempty"` // its name or id; "": all
	Since    time.Time `json:"since,omitzero"`    // of the deletion
	Until    time.Time `json:"until,omitzero"`
	UIDs     string    `json:"uids,omitempty"` // "1:4,7", that they had in Mailbox; "": all
	To       string    `json:"to,omitempty"`   // the mailbox that messages go to; "": their own
	Force    bool      `json:"force,omitempty"`
	By       string    `json:"by"`
	PlanOnly bool      `json:"plan_only,omitempty"`
}

// UndeleteReport says what comes back.
type UndeleteReport struct {
	Address   string             `json:"user"`
	Account   string             `json:"account"`
	Deleted   time.Time          `json:"account_deleted_at,omitzero"` // the account is deleted, or was
	Mailboxes []UndeletedMailbox `json:"mailboxes"`                   // that were deleted
	Messages  []UndeletedMessage `json:"messages"`                    // that were expunged: the first thousand
	Expunged  int64              `json:"expunged"`                    // how many there are
	Octets    int64              `json:"octets"`                      // of both
	Left      []string           `json:"left"`                        // sentences about what cannot come back so
	Done      bool               `json:"done"`                        // false: a plan
}

// UndeletedMailbox is a mailbox that comes back as a whole, with its UIDs.
type UndeletedMailbox struct {
	ID       string     `json:"id"`
	Name     string     `json:"mailbox"`
	As       string     `json:"as"` // the name that it gets
	Messages int64      `json:"messages"`
	Octets   int64      `json:"octets"`
	At       time.Time  `json:"deleted_at"`
	By       slot.Actor `json:"by,omitzero"`
}

// UndeletedMessage is a message that comes back. To and NewUID are where it is then.
type UndeletedMessage struct {
	Mailbox string     `json:"mailbox"`
	UID     mail.UID   `json:"uid"`
	Octets  int64      `json:"octets"`
	Date    time.Time  `json:"date"` // INTERNALDATE
	Subject string     `json:"subject,omitempty"`
	At      time.Time  `json:"deleted_at"`
	By      slot.Actor `json:"by,omitzero"`
	To      string     `json:"to"`                // "": it cannot come back so
	NewUID  mail.UID   `json:"new_uid,omitempty"` // once it is back
}

// HistoryRequest asks who changed what.
type HistoryRequest struct {
	Mailbox   string    `json:"mailbox,omitempty"` // its name or id; "": all
	UID       mail.UID  `json:"uid,omitempty"`     // in Mailbox
	MessageID string    `json:"message_id,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	Limit     int       `json:"limit,omitempty"` // the newest so many; 0 is 100, at most 5000
}

// UserHistory is what is known of the changes of a user's account.
type UserHistory struct {
	Address string `json:"user"`
	Account string `json:"account"`
	// Deeds, the oldest first.
	Deeds []slot.Deed `json:"deeds"`
	// Places are where the message with the id that was asked for is now, or was expunged.
	Places []slot.Place `json:"places"`
	More   bool         `json:"more"` // there are older ones
}

// PurgeRequest asks that what was deleted go at once, for good.
type PurgeRequest struct {
	Mailbox string `json:"mailbox,omitempty"` // only what was deleted there; "": all, and the account if that was deleted
	By      string `json:"by"`
}

// PurgeReport says what is purged.
type PurgeReport struct {
	Address string `json:"user"`
	Account string `json:"account"`
	// Gone: the account itself was deleted, and all of it is gone.
	Gone bool `json:"gone"`
}
