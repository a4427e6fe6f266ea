package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
)

type pkiCmd struct {
	Show   pkiShowCmd   `cmd:"" help:"Show the CA and every machine's certificate."`
	Rotate pkiRotateCmd `cmd:"" name:"rotate-ca" help:"Replace the cluster's CA, or go on with that."`
}

type pkiShowCmd struct{}

// Run prints the papers; exit code 3 when there are critical problems.
func (pkiShowCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	p, err := cl.PKI(e.ctx)
	if err != nil {
		return err
	}
	if err := e.print(p, func(w io.Writer) { printPKI(w, p) }); err != nil {
		return err
	}
	if slices.ContainsFunc(p.Problems, func(p api.Problem) bool { return p.Severity == "critical" }) {
		return errUnhealthy
	}
	return nil
}

func printPKI(w io.Writer, p api.PKI) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CA\tENDS\tCERTIFIES\tITS KEY IS ON")
	for _, a := range p.Authorities {
		var certifies, issuing []cluster.Machine
		for _, m := range p.Machines {
			if m.Issuer == a.Key {
				certifies = append(certifies, m.Machine)
			}
			if m.Issues == a.Key {
				issuing = append(issuing, m.Machine)
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", short(a.Key), a.NotAfter.Format(time.DateOnly), machines(certifies), machines(issuing))
	}
	fmt.Fprintln(t, "\t\t\t\nMACHINE\tKEY\tLISTED\tCA\tRENEWED BEFORE\tBELIEVES")
	for _, m := range p.Machines {
		if m.Silent {
			fmt.Fprintf(t, "%s\tdoes not answer\t%s\n", m.Machine, short(m.Listed))
			continue
		}
		var trust []string
		for _, a := range m.Trust {
			trust = append(trust, short(a.Key))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", m.Machine, short(m.Key), short(m.Listed), short(m.Issuer), m.RenewBy.Format(time.DateOnly), strings.Join(trust, ", "))
	}
	t.Flush()
	printProblems(w, p.Problems)
}

// short is enough of a key's name to compare by eye.
func short(key string) string { return key[:min(len(key), 12)] }

type pkiRotateCmd struct {
	Without []string `help:"Machines that do not answer and are not waited for. They have to join again." placeholder:"MACHINE"`
	Yes     bool     `help:"Do not ask for confirmation."`
}

// Run shows what is to be done, and takes stage after stage when that is confirmed.
func (c pkiRotateCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	req := api.RotateRequest{By: operator(), PlanOnly: true}
	for _, m := range c.Without {
		req.Without = append(req.Without, cluster.Machine(m))
	}
	plan, err := cl.RotateCA(e.ctx, req)
	if err != nil {
		return err
	}
	printRotatePlan(e.stderr, plan)
	if err := e.confirm(c.Yes, "It may be interrupted, and goes on when asked again."); err != nil {
		return err
	}
	req.PlanOnly = false
	for {
		r, err := cl.RotateCA(e.ctx, req)
		if err != nil {
			return err
		}
		if !r.Done && len(r.Waiting) == 0 {
			fmt.Fprintf(e.stderr, "Stage %s begins.\n", r.Rotation.Stage)
			continue
		}
		if err := e.print(r, func(w io.Writer) { printRotated(w, r) }); err != nil {
			return err
		}
		if !r.Done {
			return hinted{
				fmt.Errorf("stage %s is done but for %s", r.Rotation.Stage, machines(r.Waiting)),
				"start them and ask again; for a machine that will not come back: --without",
			}
		}
		return nil
	}
}

func printRotatePlan(w io.Writer, r api.RotateReport) {
	if r.Rotation.New == "" {
		fmt.Fprintf(w, "The cluster gets a new CA in place of %s:\n\n", short(r.Rotation.Old))
	} else {
		fmt.Fprintf(w, "The change from the CA %s to %s, begun %s, goes on at stage %s:\n\n",
			short(r.Rotation.Old), short(r.Rotation.New), r.Rotation.Begun.Format(time.RFC3339), r.Rotation.Stage)
	}
	fmt.Fprintln(w, "  believe  every machine believes the new CA, too")
	fmt.Fprintln(w, "  renew    every machine gets its certificate from the new CA")
	fmt.Fprintln(w, "  forget   every machine believes the new CA alone")
	var names []cluster.Machine
	for _, s := range r.Steps {
		names = append(names, s.Machine)
	}
	fmt.Fprintf(w, "\nMachines: %s. In the first and the last stage the coordinator's members are restarted, one after\nthe other, for about a second each. Mail flows meanwhile.\n", machines(names))
	if r.Tokens > 0 {
		fmt.Fprintf(w, "%d tokens with which machines could join end: they name the old CA.\n", r.Tokens)
	}
	if len(r.Waiting) > 0 {
		fmt.Fprintf(w, "NO ANSWER FROM %s: the stage will wait for them.\n", machines(r.Waiting))
	}
	if len(r.Rotation.Without) > 0 {
		fmt.Fprintf(w, "WITHOUT %s: strangers to the cluster when it is done, until they have joined again.\n", machines(r.Rotation.Without))
	}
}

func printRotated(w io.Writer, r api.RotateReport) {
	if !r.Done {
		return
	}
	fmt.Fprintf(w, "the CA is %s now; %s is believed by nobody\n", short(r.Rotation.New), short(r.Rotation.Old))
	if len(r.Rotation.Without) > 0 {
		fmt.Fprintf(w, "left out: %s. To let them in again: tandemail token create --replace --machine NAME\n", machines(r.Rotation.Without))
	}
	fmt.Fprintln(w, "Keep a copy of the new ca.key in a safe place, and remove those of the old one.")
}
