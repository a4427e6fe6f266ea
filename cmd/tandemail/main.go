// Command tandemail keeps mail on two machines at once. See package cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/tandemail/tandemail/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
