package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
)

type clusterCmd struct {
	Show      clusterShowCmd      `cmd:"" help:"Show the cluster's level and what its machines support."`
	Retention clusterRetentionCmd `cmd:"" help:"Show or set how long what was deleted can come back."`
	SCRAM     clusterSCRAMCmd     `cmd:"" name:"scram" help:"Show or set whether users may log in by SCRAM."`
	Upgrade   clusterUpgradeCmd   `cmd:"" help:"Finish an upgrade: raise the cluster's level. After that no older release can return."`
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

type clusterRetentionCmd struct {
	Time string `arg:"" optional:"" help:"How long: 14d, 36h; or 'default'. Without it, show what is set."`
}

// Run prints the retention time, set anew if that was asked for.
func (c clusterRetentionCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	var r api.Retention
	switch c.Time {
	case "":
		r, err = cl.Retention(e.ctx)
	case "default":
		r, err = cl.SetRetention(e.ctx, api.Retention{Default: true, By: operator()})
	default:
		d, bad := parseDuration(c.Time)
		if bad != nil {
			return usageError{bad}
		}
		r, err = cl.SetRetention(e.ctx, api.Retention{Hours: d.Hours(), By: operator()})
	}
	if err != nil {
		return err
	}
	return e.print(r, func(w io.Writer) {
		fmt.Fprintf(w, "what was deleted can come back for %s\n", days(r.Hours))
	})
}

// days says hours in the larger unit if they are whole days.
func days(hours float64) string {
	if d := hours / 24; d == float64(int(d)) {
		return fmt.Sprintf("%d days", int(d))
	}
	return fmt.Sprintf("%g hours", hours)
}
