package cli

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/dev"
)

type machineCmd struct {
	List    machineListCmd    `cmd:"" help:"List machines."`
	Start   machineStartCmd   `cmd:"" help:"Start a machine of a dev cluster that has died."`
	Drain   machineDrainCmd   `cmd:"" help:"Switch every master off a machine and keep it free of them."`
	Undrain machineUndrainCmd `cmd:"" help:"Let masters return to a machine."`
	Check   machineCheckCmd   `cmd:"" help:"Look at machines and at the ways between them."`
	Remove  machineRemoveCmd  `cmd:"" help:"Take a machine out of the cluster for ever and strike its key."`
}

type machineListCmd struct{}

// Run prints a line a machine.
func (machineListCmd) Run(e *env) error {
	s, err := e.status()
	if err != nil {
		return err
	}
	return e.print(s.Machines, func(w io.Writer) { printMachines(w, s.Machines) })
}

type machineStartCmd struct {
	Machine string `arg:"" help:"The machine's name."`
}

// Run asks the dev command that owns the cluster to start the machine.
func (c machineStartCmd) Run(e *env) error {
	if e.dir == "" {
		return hinted{fmt.Errorf("start %s: only a dev cluster's machines are started so", c.Machine), "give --dir DIR; a real machine is started by its service manager"}
	}
	m, err := dev.Start(e.ctx, e.dir, cluster.Machine(c.Machine))
	if err != nil {
		return err
	}
	return e.print(m, func(w io.Writer) { fmt.Fprintf(w, "%s runs as process %d\n", m.Name, m.PID) })
}

type machineDrainCmd struct {
	Machine string `arg:"" help:"The machine's name."`
}

// Run drains the machine and prints each switch.
func (c machineDrainCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	r, err := cl.Drain(e.ctx, cluster.Machine(c.Machine))
	if err != nil {
		return err
	}
	err = e.print(r, func(w io.Writer) {
		for _, s := range r.Switches {
			printSwitch(w, s)
		}
		for _, f := range r.Failed {
			fmt.Fprintln(w, f)
		}
		fmt.Fprintf(w, "%s has no master now: %d switched in %.1f s\n", r.Machine, len(r.Switches), r.Seconds)
	})
	if err == nil && len(r.Failed) > 0 {
		return fmt.Errorf("%d stores stayed on %s", len(r.Failed), r.Machine)
	}
	return err
}

type machineUndrainCmd struct {
	Machine string `arg:"" help:"The machine's name."`
}

// Run lets masters return.
func (c machineUndrainCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	if err := cl.Undrain(e.ctx, cluster.Machine(c.Machine)); err != nil {
		return err
	}
	return e.print(struct{}{}, func(w io.Writer) { fmt.Fprintf(w, "masters may return to %s\n", c.Machine) })
}

type machineRemoveCmd struct {
	Machine string `arg:"" help:"The machine's name."`
	Force   bool   `help:"Remove it although stores have their master or their only copy in sync there."`
}

// Run removes the machine and prints what became of its copies.
func (c machineRemoveCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	r, err := cl.RemoveMachine(e.ctx, cluster.Machine(c.Machine), api.RemoveRequest{Force: c.Force})
	if err != nil {
		return err
	}
	return e.print(r, func(w io.Writer) {
		fmt.Fprintf(w, "%s is no machine of the cluster any more; its key is struck\n", r.Machine)
		for _, m := range r.Moved {
			fmt.Fprintf(w, "store %s: a new copy is made on %s\n", m.Store, machines(m.Machines))
		}
		for _, l := range r.Left {
			fmt.Fprintln(w, l)
		}
	})
}

type machineCheckCmd struct {
	Machine string `arg:"" optional:"" help:"The machine's name. Default: all."`
}

// Run prints what was seen; exit code 3 when something failed.
func (c machineCheckCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	list, err := cl.Check(e.ctx, cluster.Machine(c.Machine))
	if err != nil {
		return err
	}
	if err := e.print(list, func(w io.Writer) { printChecks(w, list) }); err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(c api.Check) bool { return c.State == api.CheckFail }) {
		return errUnhealthy
	}
	return nil
}

func printChecks(w io.Writer, list []api.Check) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "MACHINE\tABOUT\tSTATE\tSEEN")
	for _, c := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", c.Machine, c.About, c.State, c.Text)
	}
	t.Flush()
	for _, c := range list {
		if c.State != api.CheckOK && c.Hint != "" {
			fmt.Fprintf(w, "%s, %s: %s\n", c.Machine, c.About, c.Hint)
		}
	}
}
