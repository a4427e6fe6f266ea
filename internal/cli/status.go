package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
)

type statusCmd struct{}

// Run prints the cluster; exit code 3 when there are critical problems.
func (statusCmd) Run(e *env) error {
	s, err := e.status()
	if err != nil {
		return err
	}
	if err := e.print(s, func(w io.Writer) { printStatus(w, s) }); err != nil {
		return err
	}
	if slices.ContainsFunc(s.Problems, func(p api.Problem) bool { return p.Severity == "critical" }) {
		return errUnhealthy
	}
	return nil
}

func printStatus(w io.Writer, s api.Status) {
	printMachines(w, s.Machines)
	fmt.Fprintln(w)
	printStores(w, s.Stores...)
	if s.Paused != "" {
		fmt.Fprintf(w, "\nAutomatic action is paused: %s\n", s.Paused)
	}
	if len(s.Problems) == 0 {
		fmt.Fprintln(w, "\nNo problems: every store has all its copies in sync.")
		return
	}
	printProblems(w, s.Problems)
}

func printProblems(w io.Writer, list []api.Problem) {
	if len(list) > 0 {
		fmt.Fprintln(w)
	}
	for _, p := range list {
		fmt.Fprintf(w, "%s %s: %s\n", strings.ToUpper(p.Severity), p.Code, p.Text)
		if p.Next != "" {
			fmt.Fprintf(w, "    next: %s\n", p.Next)
		}
	}
}

func printMachines(w io.Writer, list []api.MachineStatus) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "MACHINE\tSTATE\tPID\tMASTERS\tREPLICAS\tADDRESS")
	for _, m := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\n", m.Name, m.State, dash(m.PID), m.Masters, m.Replicas, m.Address)
	}
	t.Flush()
}

func printStores(w io.Writer, list ...api.StoreStatus) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STORE\tEPOCH\tMASTER\tCOPIES\tLSN\tLAG\tSTATE")
	for _, s := range list {
		printStore(t, s)
	}
	t.Flush()
}

// printStore writes a line for each copy, the master first.
func printStore(w io.Writer, s api.StoreStatus) {
	slots := slices.Clone(s.Slots)
	slices.SortStableFunc(slots, func(a, b api.SlotStatus) int { return rank(s, a) - rank(s, b) })
	for i, sl := range slots {
		name, epoch, master := string(s.Name), fmt.Sprint(s.Epoch), string(s.Master)
		if i > 0 {
			name, epoch, master = "", "", ""
		} else if master == "" {
			master = "-"
		}
		state := sl.State
		if sl.Reason != "" {
			state += ": " + sl.Reason
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", name, epoch, master, copyName(s, sl), sl.LSN, sl.LagBytes, state)
	}
}

func rank(s api.StoreStatus, sl api.SlotStatus) int {
	if sl.Machine == s.Master {
		return 0
	}
	return 1
}

func copyName(s api.StoreStatus, sl api.SlotStatus) string {
	n := string(sl.Machine) + " " + sl.Role
	if !slices.Contains(s.InSync, sl.Machine) {
		n += " (not in sync)"
	}
	return n
}

func dash(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func machines(names []cluster.Machine) string {
	s := make([]string, len(names))
	for i, n := range names {
		s[i] = string(n)
	}
	return strings.Join(s, ", ")
}
