package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"runtime"

	"github.com/tandemail/tandemail/internal/app"
	"github.com/tandemail/tandemail/internal/config"
)

type serveCmd struct {
	Config   string `help:"The machine's configuration." default:"/etc/tandemail/tandemail.toml" type:"path" placeholder:"FILE"`
	Check    bool   `help:"Only check the configuration."`
	Debug    bool   `help:"Log more."`
	UntilEOF bool   `help:"Stop when standard input ends." hidden:"" name:"until-eof"`
}

// Run serves until the process is asked to stop.
func (c serveCmd) Run(e *env) error {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	if c.Check {
		return e.print(cfg, func(w io.Writer) { _, _ = io.WriteString(w, c.Config+" is valid\n") })
	}
	ctx := e.ctx
	if c.UntilEOF {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // its end is the message
			cancel()
		}()
	}
	moreProcs()
	level := slog.LevelInfo
	if c.Debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: level}))
	if err := app.Serve(ctx, cfg, log); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// fewestProcs is how many threads run Go code at least, unless GOMAXPROCS says
// otherwise. Each sync of a disk takes one along for as long as the runtime needs to
// notice; with two of them, all else waits for that.
const fewestProcs = 8

func moreProcs() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(fewestProcs, runtime.GOMAXPROCS(0)))
	}
}
