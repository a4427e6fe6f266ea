package cli

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/tandemail/tandemail/internal/dev"
)

type devCmd struct {
	Mail    string `help:"Deliver message files, an mbox or a Maildir." placeholder:"PATH" type:"path"`
	Stores  int    `help:"How many stores a new cluster gets." default:"6"`
	Respawn bool   `help:"Start machines again that die."`
}

// Run shows a cluster until Ctrl-C.
func (c devCmd) Run(e *env) error {
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	return dev.Run(e.ctx, dev.Options{
		Dir: e.dir, Mail: c.Mail, Stores: c.Stores, JSON: e.json, Respawn: c.Respawn, Binary: binary,
		Out: e.stdout, Err: e.stderr, Log: slog.New(slog.NewTextHandler(e.stderr, nil)),
	})
}
