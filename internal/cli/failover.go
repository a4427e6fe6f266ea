package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
)

type storeFailoverCmd struct {
	Store    string      `arg:"" help:"The store's name."`
	Force    bool        `help:"Appoint a copy that is not in sync. Required: failover without loss is automatic."`
	To       string      `help:"The machine of the new master. Default: the copy that has most." placeholder:"MACHINE"`
	OldIsOff bool        `help:"You know that every machine of the in-sync set is off: do not wait for it."`
	DryRun   bool        `help:"Print the plan and change nothing."`
	Yes      bool        `help:"Do not ask for the store's name. Needs --expect."`
	Expect   cluster.Rev `help:"The revision of the plan that is confirmed; if the store has changed since, nothing happens." placeholder:"REV"`
	Reason   string      `help:"Why, for the history." default:"asked for by hand"`
}

// Run shows what a forced failover costs, and does it when the store's name is typed.
func (c storeFailoverCmd) Run(e *env) error {
	switch {
	case !c.Force:
		return hinted{errors.New("a failover by hand loses what the copy does not have, and needs --force"), "tandemail store switchover loses nothing; failover to a copy in sync is automatic"}
	case c.Yes && c.Expect == 0:
		return usageError{errors.New("--yes needs --expect, the revision of the plan that --dry-run printed")}
	}
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	req := api.FailoverRequest{
		To: cluster.Machine(c.To), OldIsOff: c.OldIsOff, By: operator(), Reason: c.Reason, PlanOnly: true,
	}
	plan, err := cl.Failover(e.ctx, cluster.Store(c.Store), req)
	if err != nil {
		return err
	}
	if c.DryRun {
		return e.print(plan, func(w io.Writer) { printFailover(w, plan) })
	}
	printFailover(e.stderr, plan)
	if !c.Yes {
		if err := e.confirmWord(c.Store, "This cannot be taken back."); err != nil {
			return err
		}
		c.Expect = plan.Rev
	}
	req.PlanOnly, req.To, req.Rev = false, plan.To, c.Expect
	done, err := cl.Failover(e.ctx, cluster.Store(c.Store), req)
	if err != nil {
		return err
	}
	return e.print(done, func(w io.Writer) {
		fmt.Fprintf(w, "store %s: %s -> %s, epoch %d, forced. When %s comes back, what only it has is delivered again: tandemail store tails %s\n",
			done.Store, done.From, done.To, done.Epoch, done.From, done.Store)
	})
}

// shownUsers bounds how many users the plan names; --json has all.
const shownUsers = 20

func printFailover(w io.Writer, r api.FailoverReport) {
	fmt.Fprintf(w, "Store %s would be served by %s, whose copy is not in sync. (revision %d, epoch %d)\n\n", r.Store, r.To, r.Rev, r.Epoch)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "COPY ON\tHAS\tLAST SEEN\t")
	fmt.Fprintf(t, "%s\tup to %d, of epoch %d\tnow\twould be master\n", r.To, r.LSN, r.Ended)
	for _, l := range r.Lost {
		has, seen := "unknown", "unknown"
		if l.SeenSec > 0 {
			has, seen = fmt.Sprintf("up to %d", l.LSN), fmt.Sprintf("%v ago", (time.Duration(l.SeenSec)*time.Second))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", l.Machine, has, seen, l.Why)
	}
	t.Flush()
	fmt.Fprintf(w, `
What it costs:
  - What was acknowledged and is not on %s is missing until a disk of the lost copies comes back; then messages are
    delivered again, and changes of flags and removals are listed, not made.
  - Every mail client of these users resynchronises; none will show another message under an old number.
`, r.To)
	names, more := r.Users, ""
	if len(names) > shownUsers {
		names, more = names[:shownUsers], fmt.Sprintf(" and %d more", len(r.Users)-shownUsers)
	}
	fmt.Fprintf(w, "%d users live on it: %s%s\n", len(r.Users), orNone(strings.Join(names, ", ")), more)
	if r.Forks > 0 {
		fmt.Fprintf(w, "It was forced %d times before.\n", r.Forks)
	}
	switch {
	case r.OldIsOff:
		fmt.Fprintln(w, "You say that the lost machines are off: it serves after about a second. If one is not, mail is lost.")
	case r.Fence:
		fmt.Fprintln(w, "The fence command will be run for the lost machines first.")
	default:
		fmt.Fprintf(w, "It serves after %.0f seconds, when the old master has surely ended.\n", r.WaitSec)
	}
}
