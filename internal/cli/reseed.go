package cli

import (
	"fmt"
	"io"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
)

type storeReseedCmd struct {
	Store   string `arg:"" help:"The store's name."`
	Machine string `arg:"" help:"The machine whose copy is to be made anew."`
	Reason  string `help:"Why, for the history." default:"asked for by hand"`
	Yes     bool   `help:"Do not ask for confirmation."`
}

// Run gives a copy up when that is confirmed.
func (c storeReseedCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stderr, "The copy of store %s on %s will be made anew from the master's. What it has now is set aside on its disks, while they have room.\n", c.Store, c.Machine)
	if err := e.confirm(c.Yes, "What it has and the master has not is left there."); err != nil {
		return err
	}
	if err := cl.Reseed(e.ctx, cluster.Store(c.Store), api.ReseedRequest{Machine: cluster.Machine(c.Machine), Reason: c.Reason}); err != nil {
		return err
	}
	return e.print(struct{}{}, func(w io.Writer) {
		fmt.Fprintf(w, "store %s: the copy on %s is being made anew: tandemail store show %s\n", c.Store, c.Machine, c.Store)
	})
}
