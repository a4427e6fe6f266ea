package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
)

type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Make a token with which another machine may join."`
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
