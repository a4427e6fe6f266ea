package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/slot"
)

type userUndeleteCmd struct {
	Address string `arg:"" help:"user@domain; of a deleted user also the account's id"`
	Account bool   `help:"Bring the deleted user back: account, mail and password."`
	Mailbox string `help:"Only this mailbox, by its name or id, and what was deleted in it." placeholder:"NAME"`
	Since   string `help:"Only what was deleted since then: 2d, or 2026-01-31 15:04." placeholder:"WHEN"`
	Until   string `help:"Only what was deleted until then." placeholder:"WHEN"`
	UID     string `help:"Only the messages that had these UIDs in --mailbox: 1:4,7." placeholder:"UIDS"`
	To      string `help:"Put the messages there. Default: where they were." placeholder:"MAILBOX"`
	Force   bool   `help:"Even if the user is over quota then."`
	DryRun  bool   `help:"Only show what would come back."`
	Yes     bool   `help:"Do not ask for confirmation."`
}

// Run shows what would come back, and brings it back when that is confirmed.
func (c userUndeleteCmd) Run(e *env) error {
	req := api.UndeleteRequest{Account: c.Account, Mailbox: c.Mailbox, UIDs: c.UID, To: c.To, Force: c.Force, By: operator(), PlanOnly: true}
	var badSince, badUntil error
	req.Since, badSince = parseWhen(c.Since, time.Now())
	req.Until, badUntil = parseWhen(c.Until, time.Now())
	if err := errors.Join(badSince, badUntil); err != nil {
		return usageError{err}
	}
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	plan, err := cl.Undelete(e.ctx, c.Address, req)
	if err != nil {
		return err
	}
	nothing := !c.Account && len(plan.Mailboxes) == 0 && plan.Expunged == 0
	if c.DryRun || nothing {
		return e.print(plan, func(w io.Writer) { printUndelete(w, plan) })
	}
	printUndelete(e.stderr, plan)
	if err := e.confirm(c.Yes, "Bring this back?"); err != nil {
		return err
	}
	req.PlanOnly = false
	done, err := cl.Undelete(e.ctx, c.Address, req)
	if err != nil {
		return err
	}
	return e.print(done, func(w io.Writer) {
		if c.Account {
			fmt.Fprintf(w, "%s is back\n", done.Address)
			return
		}
		fmt.Fprintf(w, "%d mailboxes and %d messages of %s are back\n", len(done.Mailboxes), done.Expunged, done.Address)
	})
}

// shownRows is how many messages are listed for people.
const shownRows = 50

func printUndelete(w io.Writer, r api.UndeleteReport) {
	if !r.Deleted.IsZero() {
		fmt.Fprintf(w, "%s, deleted %s, comes back with the account %s.\n", r.Address, when(r.Deleted), r.Account)
		return
	}
	if len(r.Mailboxes) == 0 && r.Expunged == 0 && len(r.Left) == 0 {
		fmt.Fprintln(w, "Nothing that was deleted can come back.")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(r.Mailboxes) > 0 {
		fmt.Fprintln(t, "MAILBOX\tCOMES BACK AS\tMESSAGES\tOCTETS\tDELETED\tBY")
		for _, m := range r.Mailboxes {
			fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\n", m.Name, m.As, m.Messages, m.Octets, when(m.At), who(m.By))
		}
	}
	if len(r.Messages) > 0 {
		fmt.Fprintln(t, "MAILBOX\tUID\tDATE\tOCTETS\tDELETED\tBY\tSUBJECT")
		for _, m := range r.Messages[:min(len(r.Messages), shownRows)] {
			fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%s\t%s\t%.60s\n", m.Mailbox, m.UID, when(m.Date), m.Octets, when(m.At), who(m.By), m.Subject)
		}
	}
	t.Flush()
	if n := r.Expunged - int64(min(len(r.Messages), shownRows)); n > 0 {
		fmt.Fprintf(w, "and %d messages more\n", n)
	}
	for _, s := range r.Left {
		fmt.Fprintln(w, s)
	}
}

// who is an actor in a few words.
func who(a slot.Actor) string {
	var parts []string
	for _, p := range []string{a.User, a.By, a.Remote, a.Command, a.QueueID} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, " ")
}

type userPurgeCmd struct {
	Address string `arg:"" help:"user@domain; of a deleted user also the account's id"`
	Mailbox string `help:"Only what was deleted in this mailbox, by its name or id." placeholder:"NAME"`
	Yes     bool   `help:"Do not ask for confirmation."`
}

// Run removes what was deleted when that is confirmed.
func (c userPurgeCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	if err := e.confirm(c.Yes, "What "+c.Address+" has deleted is removed for good; a deleted user, with all mail."); err != nil {
		return err
	}
	r, err := cl.Purge(e.ctx, c.Address, api.PurgeRequest{Mailbox: c.Mailbox, By: operator()})
	if err != nil {
		return err
	}
	return e.print(r, func(w io.Writer) {
		if r.Gone {
			fmt.Fprintf(w, "%s is gone for good\n", r.Address)
			return
		}
		fmt.Fprintf(w, "nothing that %s has deleted can come back\n", r.Address)
	})
}
