package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
)

type clusterCmd struct {
	Show    clusterShowCmd    `cmd:"" help:"Show the cluster's level and what its machines support."`
	Upgrade clusterUpgradeCmd `cmd:"" help:"Finish an upgrade: raise the cluster's level. After that no older release can return."`
}

type clusterShowCmd struct{}

// Run prints the levels.
func (clusterShowCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	l, err := cl.Level(e.ctx)
	if err != nil {
		return err
	}
	return e.print(l, func(w io.Writer) { printLevel(w, l) })
}

func printLevel(w io.Writer, l api.ClusterLevel) {
	fmt.Fprintf(w, "cluster %s, level %d\n\n", l.Cluster, l.Level)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "MACHINE\tSUPPORTS")
	for _, m := range l.Machines {
		level := "does not answer"
		if m.Level > 0 {
			level = fmt.Sprint(m.Level)
		}
		fmt.Fprintf(t, "%s\t%s\n", m.Machine, level)
	}
	t.Flush()
	if l.Next > l.Level {
		fmt.Fprintf(w, "\nEvery machine supports level %d: tandemail cluster upgrade --finish\n", l.Next)
	}
}

type clusterUpgradeCmd struct {
	Finish bool          `help:"Raise the level. Without it, show what would be done."`
	Level  cluster.Level `help:"To this level. Default: the highest that every machine supports." placeholder:"N"`
	Yes    bool          `help:"Do not ask for confirmation."`
}

// Run raises the level when that is confirmed.
func (c clusterUpgradeCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	l, err := cl.Level(e.ctx)
	if err != nil {
		return err
	}
	if !c.Finish {
		return e.print(l, func(w io.Writer) { printLevel(w, l) })
	}
	req := api.UpgradeRequest{Level: c.Level, By: operator()}
	if req.Level == 0 {
		req.Level = l.Next
	}
	if req.Level > l.Level {
		fmt.Fprintf(e.stderr, "The cluster's level rises from %d to %d. Releases that do not support it stop from then on.\n", l.Level, req.Level)
		if err := e.confirm(c.Yes, "This cannot be taken back."); err != nil {
			return err
		}
	}
	l, err = cl.FinishUpgrade(e.ctx, req)
	if err != nil {
		return err
	}
	return e.print(l, func(w io.Writer) { fmt.Fprintf(w, "the cluster's level is %d\n", l.Level) })
}
