package cli

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/tandemail/tandemail/internal/api"
)

type userACLCmd struct {
	Address    string `arg:"" help:"user@domain"`
	Mailbox    string `arg:"" optional:"" help:"A mailbox, by its name or id. Default: all that are granted to somebody."`
	Identifier string `arg:"" optional:"" help:"Whose rights change: a user, or anyone."`
	Rights     string `arg:"" optional:"" help:"lrs, +i to add a right, none for no rights; -- -i to remove one."`
	Delete     bool   `help:"Remove what is said of the identifier."`
}

// noRights is how a person says that there are none.
const noRights = "none"

// Run changes rights if it is told whose, and prints them.
func (c userACLCmd) Run(e *env) error {
	if c.Identifier != "" && (c.Rights == "") != c.Delete {
		return usageError{errors.New("say either which rights, or --delete")}
	}
	if c.Identifier == "" && c.Delete {
		return usageError{errors.New("--delete needs a mailbox, and whose rights")}
	}
	req := api.ACLRequest{Mailbox: c.Mailbox, Identifier: c.Identifier, Rights: c.Rights, Delete: c.Delete, By: operator()}
	if req.Rights == noRights {
		req.Rights = ""
	}
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	r, err := cl.ACL(e.ctx, c.Address, req)
	if err != nil {
		return err
	}
	return e.print(r, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "MAILBOX\tWHO\tRIGHTS")
		for _, m := range r.Mailboxes {
			for _, a := range m.ACL {
				fmt.Fprintf(t, "%s\t%s\t%s\n", m.Mailbox, a.Identifier, a.Rights)
			}
		}
		t.Flush()
		if r.More {
			fmt.Fprintln(w, "and more: name a mailbox")
		}
	})
}
