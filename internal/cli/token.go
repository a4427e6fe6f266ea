package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
)

type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Make a token with which another machine may join."`
	List   tokenListCmd   `cmd:"" help:"List tokens that can still be used."`
	Revoke tokenRevokeCmd `cmd:"" help:"End a token."`
}

type tokenCreateCmd struct {
	Machine string        `help:"The only machine that may use it. Default: any." placeholder:"NAME"`
	Roles   []string      `help:"What the machine may do: storage, front, control." default:"storage,front,control" placeholder:"ROLE"`
	Uses    int           `help:"How many machines may use it." default:"1"`
	Expires time.Duration `help:"How long it is good for." default:"1h"`
	Replace bool          `help:"The machine takes the place of one of that name, whose key is struck."`
}

// Run prints the token, which nobody can look up later.
func (c tokenCreateCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	t, err := cl.CreateToken(e.ctx, api.TokenRequest{
		Machine: cluster.Machine(c.Machine), Roles: c.Roles, Uses: c.Uses, Minutes: int(c.Expires / time.Minute), Replace: c.Replace,
	})
	if err != nil {
		return err
	}
	if !e.json {
		fmt.Fprintf(e.stderr, "Good until %s. Who has it may join: pass it on as you would a password.\n", t.Expires.Format(time.RFC3339))
	}
	return e.print(t, func(w io.Writer) { fmt.Fprintln(w, t.Token) })
}

type tokenListCmd struct{}

// Run prints a line a token.
func (tokenListCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	list, err := cl.Tokens(e.ctx)
	if err != nil {
		return err
	}
	return e.print(list, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "TOKEN\tFOR\tROLES\tUSED\tUNTIL")
		for _, s := range list {
			who := "any machine"
			if s.Machine != "" {
				who = string(s.Machine)
			}
			if s.Replace {
				who += " (replaced)"
			}
			used := fmt.Sprintf("%d of %d", len(s.Used), s.Uses)
			if len(s.Used) > 0 {
				used += ": " + machines(s.Used)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", s.ID, who, strings.Join(s.Roles, ", "), used, s.Expires.Format(time.RFC3339))
		}
		t.Flush()
	})
}

type tokenRevokeCmd struct {
	Token string `arg:"" help:"What token list calls it."`
}

// Run ends the token.
func (c tokenRevokeCmd) Run(e *env) error {
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	if err := cl.RevokeToken(e.ctx, c.Token); err != nil {
		return err
	}
	return e.print(struct{}{}, func(w io.Writer) {
		fmt.Fprintf(w, "token %s lets nobody in any more; whom it has let in stays\n", c.Token)
	})
}
