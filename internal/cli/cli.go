// Package cli is the command line: `tandemail <noun> <verb>`. It parses, asks the
// API of a machine or runs a role, and prints. The answer goes to stdout, as text
// for people or with --json as stable documents; everything else to stderr.
//
// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but the cluster is unhealthy.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"

	"github.com/tandemail/tandemail/internal/api"
)

// Exit codes.
const (
	exitDone      = 0
	exitFailed    = 1
	exitUsage     = 2
	exitUnhealthy = 3
)

// Commands is the whole grammar; a test keeps the documentation in step with it.
type Commands struct {
	JSON bool   `help:"Answer in JSON." name:"json"`
	Dir  string `help:"Directory of a running dev cluster." env:"TANDEMAIL_DIR" placeholder:"DIR" type:"path"`
	API  string `help:"Address of a machine's API, http://host:port." env:"TANDEMAIL_API" name:"api" placeholder:"URL"`

	Init    initCmd    `cmd:"" help:"Make this host the first machine of a new cluster."`
	Join    joinCmd    `cmd:"" help:"Make this host a machine of a cluster, with a token."`
	Token   tokenCmd   `cmd:"" help:"Let other machines join."`
	Serve   serveCmd   `cmd:"" help:"Run the roles of this machine."`
	Dev     devCmd     `cmd:"" help:"Show everything working: three machines on loopback with sample users and mail."`
	Status  statusCmd  `cmd:"" help:"Show the whole cluster."`
	User    userCmd    `cmd:"" help:"Manage users."`
	Store   storeCmd   `cmd:"" help:"Look at stores, switch their masters, compare their copies."`
	Slot    slotCmd    `cmd:"" help:"Look into a slot's files."`
	Machine machineCmd `cmd:"" help:"Manage machines."`
	Salvage salvageCmd `cmd:"" help:"Write the mail that a slot's files hold, without a cluster."`
	Cluster clusterCmd `cmd:"" help:"Show the cluster's level, finish an upgrade."`
	Control controlCmd `cmd:"" help:"Recover the coordinator."`
	PKI     pkiCmd     `cmd:"" name:"pki" help:"Look at the machines' certificates, replace the cluster's CA."`
	Bench   benchCmd   `cmd:"" help:"Generate load and measure it."`
}

// env is what every command gets: where to print and whom to ask.
type env struct {
	ctx    context.Context
	stdout io.Writer
	stderr io.Writer
	json   bool
	dir    string
	api    string
}

// errUnhealthy ends a command whose answer was printed but is bad news.
var errUnhealthy = errors.New("the cluster has problems")

// usageError is a mistake in the words of the call.
type usageError struct{ error }

// Main runs one command and returns the process's exit code.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c Commands
	code := -1
	parser, err := kong.New(&c, kong.Name("tandemail"),
		kong.Description("A mail store on two machines at once. Every command takes --json."),
		kong.Writers(stdout, stderr), kong.Exit(func(n int) { code = n }), kong.UsageOnError())
	if err != nil {
		return report(stderr, err)
	}
	k, err := parser.Parse(args)
	if code >= 0 { // --help has printed its answer
		return code
	}
	if err != nil {
		return report(stderr, usageError{err})
	}
	return report(stderr, k.Run(&env{ctx, stdout, stderr, c.JSON, c.Dir, c.API}))
}

// report prints err in the one form all errors have, and gives the exit code.
func report(stderr io.Writer, err error) int {
	var usage usageError
	var answer *api.Error
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errUnhealthy):
		return exitUnhealthy
	}
	fmt.Fprintf(stderr, "tandemail: error: %v\n", err)
	if errors.As(err, &usage) {
		fmt.Fprintln(stderr, "tandemail: hint: tandemail --help lists the commands")
		return exitUsage
	}
	var h hinted
	if errors.As(err, &answer) && answer.Hint != "" {
		fmt.Fprintf(stderr, "tandemail: hint: %s\n", answer.Hint)
	} else if errors.As(err, &h) {
		fmt.Fprintf(stderr, "tandemail: hint: %s\n", h.hint)
	}
	return exitFailed
}

// hinted is an error with the next step.
type hinted struct {
	error
	hint string
}

// print writes v as JSON, or calls text.
func (e *env) print(v any, text func(io.Writer)) error {
	if !e.json {
		text(e.stdout)
		return nil
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	_, err = fmt.Fprintf(e.stdout, "%s\n", b)
	return err
}
