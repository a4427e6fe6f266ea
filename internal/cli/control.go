package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"

	"github.com/tandemail/tandemail/internal/api"
)

type controlCmd struct {
	Recover controlRecoverCmd `cmd:"" help:"Recover a coordinator that was wiped or went back, from what the slots know."`
}

type controlRecoverCmd struct {
	From     string `help:"Restore users, aliases and settings that are missing from this export, a file of the machine that is asked." placeholder:"FILE"`
	Complete bool   `help:"Say that no user and no alias is missing any more: unknown addresses are refused for good again."`
	Reason   string `help:"Why, for the history." default:"asked for by hand"`
	Yes      bool   `help:"Do not ask for confirmation."`
}

// Run shows what the slots say, and writes it when that is confirmed.
func (c controlRecoverCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	req := api.RecoverRequest{By: operator(), Reason: c.Reason, Complete: c.Complete, PlanOnly: true}
	if c.From != "" {
		if req.From, err = filepath.Abs(c.From); err != nil {
			return fmt.Errorf("find export: %w", err)
		}
	}
	plan, err := cl.Recover(e.ctx, req)
	if err != nil {
		return err
	}
	printRecovery(e.stderr, plan)
	if c.Complete {
		fmt.Fprintf(e.stderr, "The directory has %d users and %d aliases now, before anything is restored. Whoever is missing then will be refused for good.\n", plan.Users, plan.Aliases)
	}
	if err := e.confirm(c.Yes, "This becomes the truth about who may write."); err != nil {
		return err
	}
	req.PlanOnly = false
	done, err := cl.Recover(e.ctx, req)
	if err != nil {
		return err
	}
	return e.print(done, func(w io.Writer) {
		fmt.Fprintf(w, "recovered as generation %d: %d stores, %d entries restored, %d kept. Masters are appointed in a moment: tandemail status\n", done.Generation, len(done.Stores), done.Restored, done.Kept)
	})
}

func printRecovery(w io.Writer, r api.RecoverReport) {
	fmt.Fprintf(w, "The coordinator is at revision %d; slots have seen %d. Generation %d will begin with:\n\n", r.Revision, r.Seen, r.Generation)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STORE\tEPOCH\tMASTER\tIN SYNC\tSAYS\tSILENT")
	for _, s := range r.Stores {
		claimant := string(s.Claimant)
		if claimant == "" {
			claimant = "the coordinator"
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\n", s.Store, s.Epoch, s.Master, machines(s.InSync), claimant, machines(s.Silent))
	}
	t.Flush()
	fmt.Fprintln(w)
	if len(r.Silent) > 0 {
		fmt.Fprintf(w, "NO ANSWER FROM %s. A store may have gone on there without the others; what it acknowledged then\nwould be lost. Bring these machines up first if they can be.\n", machines(r.Silent))
	}
	if !r.From.IsZero() {
		fmt.Fprintf(w, "Users, aliases and settings that are missing come from the export of %s, revision %d.\n", r.From.Format("2006-01-02 15:04:05 MST"), r.FromRevision)
	}
}
