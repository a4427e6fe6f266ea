package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
)

type storeTailsCmd struct {
	Store string `arg:"" optional:"" help:"The store's name. Default: all."`
}

// Run shows what forced failovers left and what became of it.
func (c storeTailsCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	list, err := cl.Tails(e.ctx, cluster.Store(c.Store))
	if err != nil {
		return err
	}
	return e.print(list, func(w io.Writer) { printTails(w, list) })
}

func printTails(w io.Writer, list []api.Tail) {
	if len(list) == 0 {
		fmt.Fprintln(w, "No machine that answers has anything that a forced failover left.")
		return
	}
	for _, t := range list {
		fmt.Fprintf(w, "Store %s, on %s: %s. %d messages found, %d delivered again, %d were there, %d of accounts that are gone, %d left; %d changes listed.\n",
			t.Store, t.Machine, t.State, t.Found, t.Delivered, t.Had, t.Gone, t.Left, t.Listed)
		if t.Error != "" {
			fmt.Fprintf(w, "  %s\n", t.Error)
		}
		for _, d := range t.Damage {
			fmt.Fprintf(w, "  damage: %s\n", d)
		}
		tab := tabwriter.NewWriter(w, 2, 0, 2, ' ', 0)
		for _, u := range t.Users {
			name := u.User
			if name == "" {
				name = "account " + u.Account
			}
			fmt.Fprintf(tab, "  %s\t%d delivered again\t%d left\t%d changes listed\n", name, u.Delivered, u.Left, u.Listed)
			for _, what := range append(u.Failed, u.Changes...) {
				fmt.Fprintf(tab, "    %s\n", what)
			}
		}
		tab.Flush()
		fmt.Fprintf(w, "  all of it: %s on %s\n", t.Log, t.Machine)
	}
}
