package cli

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
)

type storeCmd struct {
	Create     storeCreateCmd   `cmd:"" help:"Make stores, spread over the machines."`
	List       storeListCmd     `cmd:"" help:"List stores."`
	Show       storeShowCmd     `cmd:"" help:"Show one store and its copies."`
	Switchover storeSwitchCmd   `cmd:"" help:"Make another copy the master. Loses nothing; may be refused."`
	Failover   storeFailoverCmd `cmd:"" help:"Appoint a copy that is not in sync, when all that are in sync are lost."`
	Tails      storeTailsCmd    `cmd:"" help:"Show what forced failovers left behind, and what became of it."`
	Digest     storeDigestCmd   `cmd:"" help:"Compare the copies of a store at one position."`
	Reseed     storeReseedCmd   `cmd:"" help:"Give a copy's data up and make it a copy of the master."`
	SkipOp     storeSkipCmd     `cmd:"" name:"skip-op" help:"Give up an operation that no copy can apply, and freeze the accounts it names."`
}

type storeCreateCmd struct {
	Store  []string `arg:"" optional:"" help:"Names. Default: s01, s02 and so on."`
	Count  int      `help:"How many, if no names are given. Default: one for each pair of machines, at most four a machine." placeholder:"N"`
	Copies int      `help:"Machines that each is on." default:"2"`
	DryRun bool     `help:"Print where they would be and make none."`
}

// Run makes the stores and prints where they are.
func (c storeCreateCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	req := api.StoresRequest{Count: c.Count, Copies: c.Copies, DryRun: c.DryRun}
	for _, s := range c.Store {
		req.Names = append(req.Names, cluster.Store(s))
	}
	r, err := cl.CreateStores(e.ctx, req)
	if err != nil {
		return err
	}
	return e.print(r, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "STORE\tMACHINES, THE PREFERRED MASTER FIRST")
		for _, s := range r.Stores {
			fmt.Fprintf(t, "%s\t%s\n", s.Store, machines(s.Machines))
		}
		t.Flush()
		if r.DryRun {
			fmt.Fprintln(w, "Nothing was made.")
		}
	})
}

type storeListCmd struct{}

// Run prints a line a store.
func (storeListCmd) Run(e *env) error {
	s, err := e.status()
	if err != nil {
		return err
	}
	return e.print(s.Stores, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "STORE\tEPOCH\tMASTER\tIN SYNC")
		for _, st := range s.Stores {
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", st.Name, st.Epoch, orNone(string(st.Master)), machines(st.InSync))
		}
		t.Flush()
	})
}

type storeShowCmd struct {
	Store string `arg:"" help:"The store's name."`
}

// Run prints one store.
func (c storeShowCmd) Run(e *env) error {
	s, err := e.status()
	if err != nil {
		return err
	}
	for _, st := range s.Stores {
		if st.Name == cluster.Store(c.Store) {
			return e.print(st, func(w io.Writer) { printStores(w, st) })
		}
	}
	return hinted{fmt.Errorf("no store %q", c.Store), "tandemail store list"}
}

type storeSwitchCmd struct {
	Store  string `arg:"" help:"The store's name."`
	To     string `help:"The machine of the new master. Default: any other copy in sync." placeholder:"MACHINE"`
	Reason string `help:"Why, for the history." default:"asked for by hand"`
}

// Run switches the master and says how long writes were held.
func (c storeSwitchCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	r, err := cl.Switchover(e.ctx, cluster.Store(c.Store), api.SwitchRequest{To: cluster.Machine(c.To), Reason: c.Reason})
	if err != nil {
		return err
	}
	return e.print(r, func(w io.Writer) { printSwitch(w, r) })
}

func printSwitch(w io.Writer, r api.SwitchReport) {
	fmt.Fprintf(w, "store %s: %s -> %s, epoch %d, writes held %.0f ms\n", r.Store, r.From, r.To, r.Epoch, r.HeldMsec)
}

type storeDigestCmd struct {
	Store []string `arg:"" optional:"" help:"Stores to compare. Default: all."`
}

// Run prints the digests; exit code 1 when copies differ.
func (c storeDigestCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	names, err := storeNames(e, cl, c.Store)
	if err != nil {
		return err
	}
	reports := []api.DigestReport{}
	equal := true
	for _, n := range names {
		r, err := cl.Digest(e.ctx, n)
		if err != nil {
			return fmt.Errorf("store %s: %w", n, err)
		}
		reports = append(reports, r)
		equal = equal && r.Equal
	}
	if err := e.print(reports, func(w io.Writer) { printDigests(w, reports) }); err != nil {
		return err
	}
	if !equal {
		return errors.New("copies differ, or not all could be compared")
	}
	return nil
}

func storeNames(e *env, cl *api.Client, given []string) ([]cluster.Store, error) {
	var names []cluster.Store
	for _, n := range given {
		names = append(names, cluster.Store(n))
	}
	if len(names) > 0 {
		return names, nil
	}
	s, err := cl.Status(e.ctx)
	for _, st := range s.Stores {
		names = append(names, st.Name)
	}
	return names, err
}

func printDigests(w io.Writer, reports []api.DigestReport) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STORE\tMACHINE\tLSN\tACCOUNTS\tDIGEST")
	for _, r := range reports {
		for _, c := range r.Copies {
			digest := c.Digest
			if c.Error != "" {
				digest = c.Error
			}
			fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\n", r.Store, c.Machine, c.LSN, c.Accounts, digest)
		}
	}
	t.Flush()
}
