package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/replica"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/tail"
)

// Machines ask each other's agents in JSON: few and small questions, none of them
// on the way of a message. docs/protocol/agent.md.

type request struct {
	Method   string          `json:"method"`
	Store    cluster.Store   `json:"store,omitempty"`
	Slot     cluster.SlotID  `json:"slot,omitzero"`
	Machine  cluster.Machine `json:"machine,omitempty"`
	Epoch    cluster.Epoch   `json:"epoch,omitempty"`
	LSN      cluster.LSN     `json:"lsn,omitempty"`
	OldIsOff bool            `json:"old_is_off,omitempty"`
	Forced   bool            `json:"forced,omitempty"`
	Rev      cluster.Rev     `json:"rev,omitempty"`
	Account  string          `json:"account,omitempty"`
	Quota    int64           `json:"quota,omitempty"`
	On       bool            `json:"on,omitempty"`
	By       string          `json:"by,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Mailbox  string          `json:"mailbox,omitempty"`

	Deleted  *slot.DeletedQuery `json:"deleted,omitempty"`
	Undelete *slot.Undelete     `json:"undelete,omitempty"`
	History  *slot.HistoryQuery `json:"history,omitempty"`
	ACL      *slot.ACLChange    `json:"acl,omitempty"`
	User     mail.AccountID     `json:"user,omitzero"`
	Asks     []slot.Ask         `json:"asks,omitempty"`
}

type response struct {
	Error   string       `json:"error,omitempty"` // for people
	Code    code         `json:"code,omitempty"`  // what kind of error, where it matters
	Status  *Status      `json:"status,omitempty"`
	Reaches bool         `json:"reaches,omitempty"`
	Digest  *slot.Digest `json:"digest,omitempty"`
	More    bool         `json:"more,omitempty"`

	Accounts  []mail.AccountID `json:"accounts,omitempty"`
	Deleted   *slot.Deleted    `json:"deleted,omitempty"`
	Undeleted *slot.Undeleted  `json:"undeleted,omitempty"`
	History   *slot.History    `json:"history,omitempty"`
	Had       []bool           `json:"had,omitempty"`
	ACLs      []slot.ACL       `json:"acls,omitempty"`
	Granted   bool             `json:"granted,omitempty"`
	// Tails are the answer to tails.
	Tails []*tail.Report `json:"tails,omitempty"`
}

// code is a kind of error on the wire.
type code string

// codes lists the kinds: of the errors that become one, the first is what it
// becomes again.
var codes = []struct {
	code code
	errs []error
}{
	{"not_master", []error{cluster.ErrNotMaster, mail.ErrMoved, cluster.ErrStopped}},
	{"unknown", []error{cluster.ErrUnknown, mail.ErrUnknown}},
	{"newer", []error{cluster.ErrNewer}},
	{"no_account", []error{mail.ErrNoAccount}},
	{"no_mailbox", []error{mail.ErrNoMailbox}},
	{"exists", []error{mail.ErrExists}},
	{"over_quota", []error{mail.ErrOverQuota}},
	{"frozen", []error{mail.ErrFrozen}},
	{"limit", []error{mail.ErrLimit, mail.ErrBadName}},
}

func codeOf(err error) code {
	for _, c := range codes {
		for _, e := range c.errs {
			if errors.Is(err, e) {
				return c.code
			}
		}
	}
	return ""
}

// err is nil for none, and for one of a newer release.
func (c code) err() error {
	for _, known := range codes {
		if known.code == c {
			return known.errs[0]
		}
	}
	return nil
}

// CallTime bounds a question that is answered from memory.
const CallTime = 2 * time.Second

// times bounds the methods that wait for something, for who asks and who answers.
var times = map[string]time.Duration{
	"switch":         15 * time.Second,
	"await":          15 * time.Second,
	"digest":         time.Minute,
	"had":            10 * time.Minute, // it reads a journal
	"create-account": 10 * time.Second,
	"delete-account": 10 * time.Second,
	"freeze-account": 10 * time.Second,
	"frozen":         10 * time.Second,
	"deleted":        time.Minute,
	"history":        time.Minute,
	"undelete":       time.Minute,
	"purge":          time.Minute,
	"acls":           10 * time.Second,
	"set-acl":        10 * time.Second,
	"granted":        10 * time.Second,

	"undelete-account": 10 * time.Second,
}

func timeOf(method string) time.Duration {
	if t, ok := times[method]; ok {
		return t
	}
	return CallTime
}

// Handle answers one request of another machine's agent, whatever it is.
func (a *Agent) Handle(ctx context.Context, _ cluster.Machine, in []byte) []byte {
	var req request
	var resp response
	err := json.Unmarshal(in, &req)
	if err != nil {
		err = fmt.Errorf("request of %d octets: %w", len(in), err)
	} else {
		ctx, cancel := context.WithTimeout(ctx, timeOf(req.Method))
		err = a.handle(ctx, req, &resp)
		cancel()
	}
	if err != nil {
		resp = response{Error: err.Error(), Code: codeOf(err)}
	}
	out, err := json.Marshal(resp)
	if err != nil {
		a.log.Error("answer of agent cannot be encoded", "command", req.Method, "err", err)
		return []byte(`{"error":"answer cannot be encoded"}`)
	}
	return out
}

func (a *Agent) handle(ctx context.Context, req request, resp *response) error {
	switch req.Method {
	case "status":
		st := a.Status()
		resp.Status = &st
		return nil
	case "tails":
		resp.Tails = a.Tails()
		return nil
	case "reach":
		st, err := a.cfg.Remote.Status(ctx, req.Machine)
		resp.Reaches = err == nil && st.follows(req.Slot)
		return nil
	}
	ask, known := questions[req.Method]
	if !known {
		return fmt.Errorf("unknown method %q: %w", req.Method, cluster.ErrNewer)
	}
	s, err := a.Slot(req.Store)
	if err != nil {
		return err
	}
	return ask(ctx, s, req, resp)
}

// questions are the methods that a slot answers.
var questions = map[string]func(context.Context, *slot.Slot, request, *response) error{
	"nominate": nominate,
	"switch": func(ctx context.Context, s *slot.Slot, req request, _ *response) error {
		return s.SwitchTo(ctx, req.Slot, 0)
	},
	"await": func(ctx context.Context, s *slot.Slot, req request, _ *response) error {
		return s.AwaitServing(ctx, req.Epoch)
	},
	"digest": func(ctx context.Context, s *slot.Slot, req request, resp *response) error {
		d, err := s.Digest(ctx, req.LSN)
		resp.Digest = &d
		return err
	},
	"reseed": func(_ context.Context, s *slot.Slot, req request, _ *response) error {
		if st := s.Status(); st.Slot != req.Slot {
			return fmt.Errorf("store %s has slot %v here, not %v", req.Store, st.Slot, req.Slot)
		}
		return s.Reseed()
	},
	"had": func(ctx context.Context, s *slot.Slot, req request, resp *response) (err error) {
		resp.Had, err = s.Had(ctx, req.LSN, req.Asks)
		return err
	},
	"create-account": func(ctx context.Context, s *slot.Slot, req request, _ *response) error {
		return s.CreateAccount(ctx, req.Account, req.Quota)
	},
	"delete-account": func(ctx context.Context, s *slot.Slot, req request, _ *response) error {
		return s.DeleteAccount(ctx, req.Account)
	},
	"freeze-account": func(ctx context.Context, s *slot.Slot, req request, _ *response) error {
		return s.Freeze(ctx, req.Account, req.On, req.By, req.Reason)
	},
	"frozen": func(ctx context.Context, s *slot.Slot, _ request, resp *response) (err error) {
		resp.Accounts, err = s.FrozenAccounts(ctx)
		return err
	},
	"deleted":  deleted,
	"history":  history,
	"undelete": undelete,
	"undelete-account": func(ctx context.Context, s *slot.Slot, req request, _ *response) error {
		return s.UndeleteAccount(ctx, req.Account, req.By)
	},
	"purge": func(ctx context.Context, s *slot.Slot, req request, resp *response) (err error) {
		resp.More, err = s.PurgeNow(ctx, req.Account, req.Mailbox, req.By)
		return err
	},
	"acls": func(ctx context.Context, s *slot.Slot, req request, resp *response) (err error) {
		resp.ACLs, resp.More, err = s.ACLs(ctx, req.Account, req.Mailbox)
		return err
	},
	"set-acl": setACL,
	"granted": func(ctx context.Context, s *slot.Slot, req request, resp *response) (err error) {
		resp.Granted, err = s.Granted(ctx, req.Account, req.User)
		return err
	},
}

// nominate passes a decision on unless it is about another slot or an epoch that
// is over.
func nominate(_ context.Context, s *slot.Slot, req request, _ *response) error {
	st := s.Status()
	if st.Slot != req.Slot {
		return fmt.Errorf("store %s has slot %v here, not %v", req.Store, st.Slot, req.Slot)
	}
	if known := st.Record.Epoch; known > req.Epoch {
		return fmt.Errorf("store %s: decided at epoch %d, which is over: epoch %d", req.Store, req.Epoch, known)
	}
	return s.Nominate(replica.Nominate{Forced: req.Forced, OldIsOff: req.OldIsOff, Rev: req.Rev})
}
