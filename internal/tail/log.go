package tail

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// Outcomes of a line of the log.
const (
	OutcomeDelivered = "delivered"
	OutcomeHad       = "had"
	OutcomeGone      = "gone"
	OutcomeLeft      = "left" // a later line may say better
	OutcomeListed    = "listed"
)

// line is one message or change of a tail, and what came of it.
type line struct {
	LSN     cluster.LSN    `json:"lsn"` // of the operation
	N       int            `json:"n"`   // which of its messages
	Account mail.AccountID `json:"account"`
	User    string         `json:"user,omitempty"`
	Store   cluster.Store  `json:"store"`
	Outcome string         `json:"outcome"`
	What    string         `json:"what"`
}

// place tells lines apart: the same message has the same at each attempt.
type place struct {
	lsn cluster.LSN
	n   int
}

// ledger is the log, and the sum of it. Its memory goes by the lines.
type ledger struct {
	file    vfs.File
	outcome map[place]string
	users   map[mail.AccountID]*UserReport
	order   []*UserReport
	Counts
}

// openLedger opens the log and adds up what it says. A last line that is not whole
// was never relied on.
func openLedger(fs vfs.FS, path, dir string) (*ledger, error) {
	l := &ledger{outcome: map[place]string{}, users: map[mail.AccountID]*UserReport{}}
	var kept []byte
	f, err := fs.Open(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open log of a tail: %w", err)
	}
	if err == nil {
		for scan := bufio.NewReader(f); ; {
			b, err := scan.ReadBytes('\n')
			var x line
			if err != nil || json.Unmarshal(b, &x) != nil {
				break
			}
			kept = append(kept, b...)
			l.count(x)
		}
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("read log of a tail: %w", err)
		}
	}
	// Written anew, since what follows a torn line could not be read.
	if l.file, err = fs.Create(path+".new", vfs.WriteCategoryUnspecified); err == nil {
		if _, err = l.file.Write(kept); err == nil {
			err = l.file.Sync()
		}
		if err == nil {
			err = fs.Rename(path+".new", path)
		}
		if err == nil {
			err = syncDir(fs, dir)
		}
		if err != nil {
			err = errors.Join(err, l.file.Close())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("write log of a tail: %w", err)
	}
	return l, nil
}

// settled reports whether nothing is to be done about a message or change any more.
func (l *ledger) settled(p place) bool {
	o := l.outcome[p]
	return o != "" && o != OutcomeLeft
}

func (l *ledger) note(x line) error {
	b, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("encode line of a tail's log: %w", err)
	}
	if _, err := l.file.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write log of a tail: %w", err)
	}
	l.count(x)
	return nil
}

func (l *ledger) count(x line) {
	u := l.users[x.Account]
	if u == nil {
		u = &UserReport{Account: x.Account}
		l.users[x.Account] = u
		l.order = append(l.order, u)
	}
	u.User, u.Store = x.User, x.Store
	p := place{x.LSN, x.N}
	before := l.outcome[p]
	if before != "" {
		u.add(before, -1)
		l.add(before, -1)
	}
	l.outcome[p] = x.Outcome
	u.add(x.Outcome, 1)
	l.add(x.Outcome, 1)
	switch {
	case x.Outcome == OutcomeListed && len(u.Changes) < maxTold:
		u.Changes = append(u.Changes, x.What)
	case x.Outcome == OutcomeLeft && before == "" && len(u.Failed) < maxTold:
		u.Failed = append(u.Failed, x.What)
	}
	if u.Left == 0 {
		u.Failed = nil
	}
}

func (l *ledger) sync() error {
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("sync log of a tail: %w", err)
	}
	return nil
}
