package cli

import (
	"fmt"
	"io"

	"github.com/tandemail/tandemail/internal/api"
)

type clusterSCRAMCmd struct {
	State string `arg:"" optional:"" help:"'on' or 'off'. Without it, show what is set."`
	Yes   bool   `help:"Do not ask for confirmation."`
}

// Run prints the setting, set anew if that was asked for.
func (c clusterSCRAMCmd) Run(e *env) error {
	if c.State != "" && c.State != "on" && c.State != "off" {
		return usageError{fmt.Errorf("%q is neither on nor off", c.State)}
	}
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	s, err := cl.SCRAM(e.ctx)
	if err != nil {
		return err
	}
	if c.State != "" {
		if c.State == "off" && s.Verifiers > 0 {
			fmt.Fprintf(e.stderr, "%d of %d users have a verifier.\n", s.Verifiers, s.Users)
			if err := e.confirm(c.Yes, "All are removed; who has one gets another with the next password only."); err != nil {
				return err
			}
		}
		if s, err = cl.SetSCRAM(e.ctx, api.SCRAM{On: c.State == "on", By: operator()}); err != nil {
			return err
		}
	}
	return e.print(s, func(w io.Writer) {
		shown := "off"
		if s.On {
			shown = fmt.Sprintf("on, with %d iterations", s.Iterations)
		}
		fmt.Fprintf(w, "SCRAM is %s; %d of %d users have a verifier\n", shown, s.Verifiers, s.Users)
	})
}
