package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
)

type storeSkipCmd struct {
	Store  string      `arg:"" help:"The store's name."`
	LSN    cluster.LSN `arg:"" name:"lsn" help:"The operation's position, as status shows it."`
	Reason string      `help:"Why, for the history." required:"" placeholder:"TEXT"`
	Yes    bool        `help:"Do not ask for confirmation."`
}

// Run shows what giving the operation up means, and does it when that is confirmed.
func (c storeSkipCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	req := api.SkipRequest{LSN: c.LSN, By: operator(), Reason: c.Reason, PlanOnly: true}
	plan, err := cl.SkipOp(e.ctx, cluster.Store(c.Store), req)
	if err != nil {
		return err
	}
	printSkip(e.stderr, plan)
	if err := e.confirm(c.Yes, "This cannot be taken back."); err != nil {
		return err
	}
	req.PlanOnly = false
	done, err := cl.SkipOp(e.ctx, cluster.Store(c.Store), req)
	if err != nil {
		return err
	}
	return e.print(done, func(w io.Writer) {
		fmt.Fprintf(w, "store %s gave up the operation at %d; %d accounts are frozen. It serves again in a moment: tandemail status\n", done.Store, done.LSN, len(done.Frozen))
	})
}

func printSkip(w io.Writer, r api.SkipReport) {
	fmt.Fprintf(w, "Store %s: the %s operation at %d, which stopped %s (%s),\nwill have no effect on any copy.\n", r.Store, r.Kind, r.LSN, machines(r.Stopped), r.Error)
	if len(r.Silent) > 0 {
		fmt.Fprintf(w, "No answer from %s: a copy there that has applied it will make its index anew.\n", machines(r.Silent))
	}
	var names []string
	for _, f := range r.Frozen {
		name := f.Address
		if name == "" {
			name = "account " + f.Account
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		fmt.Fprintln(w, "No account will be frozen.")
		return
	}
	fmt.Fprintf(w, "These refuse changes and new mail until `tandemail user thaw USER`:\n  %s\n", strings.Join(names, "\n  "))
}
