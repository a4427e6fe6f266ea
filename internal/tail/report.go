package tail

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// States of a tail.
const (
	StateNone = "none" // no forced failover left anything here
	StateOpen = "open" // not all is dealt with
	StateDone = "done" // all of its messages are in the history that goes on
)

// Counts are of messages, but for Listed.
type Counts struct {
	Found     int `json:"found"`     // inserted there
	Delivered int `json:"delivered"` // delivered again
	Had       int `json:"had"`       // the history that goes on had them already
	Gone      int `json:"gone"`      // of accounts that are no more
	Left      int `json:"left"`      // not delivered again yet
	Listed    int `json:"listed"`    // changes that were not made
}

func (c *Counts) add(outcome string, n int) {
	switch outcome {
	case OutcomeListed:
		c.Listed += n
		return
	case OutcomeDelivered:
		c.Delivered += n
	case OutcomeHad:
		c.Had += n
	case OutcomeGone:
		c.Gone += n
	case OutcomeLeft:
		c.Left += n
	}
	c.Found += n
}

// Report is what is kept of a tail, in a file beside it. Its JSON form is stable.
type Report struct {
	Store cluster.Store  `json:"store"`
	Slot  cluster.SlotID `json:"slot"`
	Name  string         `json:"name"`
	State string         `json:"state"`
	From  cluster.LSN    `json:"from"` // the history parted here
	To    cluster.LSN    `json:"to"`
	Epoch cluster.Epoch  `json:"epoch"` // its last one
	Forks int            `json:"forks"` // of the store, when this was looked at
	Counts
	// Users are those whom it concerns.
	Users []*UserReport `json:"users"`
	// Damage says what of the tail could not be read; Error why it is not done.
	Damage []string  `json:"damage,omitempty"`
	Error  string    `json:"error,omitempty"`
	Log    string    `json:"log"` // the file that has everything
	At     time.Time `json:"at"`
}

// UserReport is of one account.
type UserReport struct {
	Account mail.AccountID `json:"account"`
	User    string         `json:"user,omitempty"` // "" if no user has it
	Store   cluster.Store  `json:"store"`          // where it is now
	Counts
	// Changes are what was listed, Failed what was not delivered and why; the first 50
	// of each, the log has all.
	Changes []string `json:"changes,omitempty"`
	Failed  []string `json:"failed,omitempty"`
}

const maxTold = 50

// Read returns what is kept of the source, nil if it was not looked at yet.
func (s *Source) Read(fs vfs.FS) (*Report, error) {
	f, err := fs.Open(s.path(fs, ".json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open report of a tail: %w", err)
	}
	b, err := io.ReadAll(f)
	r := new(Report)
	if err = errors.Join(err, f.Close()); err == nil {
		err = json.Unmarshal(b, r)
	}
	if err != nil {
		return nil, fmt.Errorf("read report of a tail: %w", err)
	}
	return r, nil
}

// write keeps r durably.
func (s *Source) write(fs vfs.FS, r *Report) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode report of a tail: %w", err)
	}
	tmp := s.path(fs, ".json.new")
	f, err := fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err == nil {
		_, err = f.Write(append(b, '\n'))
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		err = fs.Rename(tmp, s.path(fs, ".json"))
	}
	if err != nil {
		return fmt.Errorf("write report of a tail: %w", err)
	}
	return syncDir(fs, fs.PathJoin(s.Meta, directory))
}
