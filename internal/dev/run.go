package dev

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Options of Run.
type Options struct {
	Dir     string // "" is a new temporary directory, removed at the end
	Mail    string // message files, an mbox or a Maildir to deliver
	Stores  int    // of a new cluster; 0 is 6
	JSON    bool   // print one line when ready, nothing else
	Respawn bool   // start machines again that die
	Binary  string // this program
	Out     io.Writer
	Err     io.Writer
	Log     *slog.Logger
}

// respawnWait keeps a machine that cannot live from being started in a loop.
const respawnWait = time.Second

type runner struct {
	opt   Options
	log   *slog.Logger
	procs processes
	ctx   context.Context
	// died tells of a machine's end until the cluster is ready.
	died chan error

	mu     sync.Mutex
	layout Layout // once started only PIDs change
}

// Run starts the cluster, shows it, and stops it when ctx ends, which is no error.
func Run(ctx context.Context, opt Options) error {
	if opt.Dir == "" {
		dir, err := os.MkdirTemp("", "tandemail-dev-")
		if err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		opt.Dir = dir
		defer os.RemoveAll(dir)
	}
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	owned, err := lock(opt.Dir)
	if err != nil {
		return err
	}
	defer owned.Close()
	layout, fresh, err := prepare(opt.Dir)
	if err != nil {
		return err
	}
	// The machines of an earlier owner end when it does, but not in the same moment.
	if err := layout.awaitFree(ctx); err != nil {
		return err
	}
	err = run(ctx, opt, layout, fresh)
	if ctx.Err() != nil {
		return nil // asked to end, whatever that interrupted
	}
	return err
}

func run(ctx context.Context, opt Options, layout Layout, fresh bool) error {
	ctx, cancel := context.WithCancel(ctx)
	r := &runner{opt: opt, log: opt.Log, layout: layout, ctx: ctx, died: make(chan error, machineCount)}
	r.procs.running = map[cluster.Machine]*process{}
	defer r.procs.stop()
	defer cancel()
	ln, err := listenControl(ctx, layout.Dir)
	if err != nil {
		return err
	}
	control := make(chan error, 1)
	go func() { control <- r.serveControl(ctx, ln) }()
	for _, m := range layout.Machines {
		if _, err := r.start(m.Name); err != nil {
			return err
		}
	}
	if err := r.ready(ctx, fresh); err != nil {
		return err
	}
	if err := r.show(); err != nil {
		return err
	}
	if opt.Mail != "" {
		if err := r.deliverMail(ctx, opt.Mail); err != nil && ctx.Err() == nil {
			fmt.Fprintf(opt.Err, "tandemail: error: %v\n", err)
		}
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-control:
		return err
	}
}

const freeTime = 5 * time.Second

// awaitFree waits until the machines' addresses are free.
func (l Layout) awaitFree(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, freeTime, errors.New("end who has it, or use another directory"))
	defer cancel()
	return retry(ctx, func() error {
		var errs []error
		for _, m := range l.Machines {
			errs = append(errs, m.taken())
		}
		return errors.Join(errs...)
	})
}

// early says why a machine that should have started has not.
func (r *runner) early(name cluster.Machine, err error) error {
	path := r.layout.logOf(name)
	return fmt.Errorf("%s ended before the cluster was ready (%w); its log, %s, ends with: %s", name, cmp.Or(err, errEnded), path, lastLine(path))
}

// lastLine is the last line of a log, as far as it can be read.
func lastLine(path string) string {
	const most = 2 << 10
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd) // else it is read from its beginning
	}
	b, _ := io.ReadAll(io.LimitReader(f, most)) // what there is of it
	b = bytes.TrimSpace(b)
	return string(b[bytes.LastIndexByte(b, '\n')+1:])
}

// machines are as they are now.
func (r *runner) machines() []Machine {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.layout.Machines)
}

var errEnded = errors.New("exit status 0")

// start starts machine name and notes its process id.
func (r *runner) start(name cluster.Machine) (Machine, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.layout.index(name)
	if i < 0 {
		return Machine{}, fmt.Errorf("no machine %q in this cluster", name)
	}
	m := &r.layout.Machines[i]
	if err := r.layout.ensureMachine(*m); err != nil {
		return Machine{}, err
	}
	pid, err := r.procs.launch(r.opt.Binary, r.layout, *m, func(err error) { r.ended(name, err) })
	if err != nil {
		return Machine{}, err
	}
	m.PID = pid
	return *m, r.layout.save()
}

// ended tells the person that a machine died, and starts it again if asked to.
func (r *runner) ended(name cluster.Machine, err error) {
	if r.ctx.Err() != nil {
		return
	}
	if err == nil {
		fmt.Fprintf(r.opt.Err, "%s has stopped\n", name)
	} else {
		fmt.Fprintf(r.opt.Err, "%s has died: %v\n", name, err)
	}
	if !r.opt.Respawn {
		select {
		case r.died <- r.early(name, err):
		default:
		}
		return
	}
	select {
	case <-time.After(respawnWait):
	case <-r.ctx.Done():
		return
	}
	if _, err := r.start(name); err != nil {
		fmt.Fprintf(r.opt.Err, "tandemail: error: start %s again: %v\n", name, err)
	}
}

// show prints the one screen, or the one line of JSON.
func (r *runner) show() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opt.JSON {
		b, err := json.Marshal(r.layout)
		if err != nil {
			return fmt.Errorf("encode layout: %w", err)
		}
		_, err = fmt.Fprintf(r.opt.Out, "%s\n", b)
		return err
	}
	return printScreen(r.opt.Out, r.layout, programName(r.opt.Binary))
}
