package dev

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
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
	opt    Options
	log    *slog.Logger
	procs  processes
	mu     sync.Mutex // guards layout
	layout Layout
	ctx    context.Context
}

// Run starts the cluster, shows it, and stops it when ctx ends.
func Run(ctx context.Context, opt Options) error {
	if opt.Dir == "" {
		dir, err := os.MkdirTemp("", "tandemail-dev-")
		if err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		opt.Dir = dir
		defer os.RemoveAll(dir)
	}
	if running(opt.Dir) {
		return fmt.Errorf("a dev cluster runs in %s already", opt.Dir)
	}
	layout, fresh, err := prepare(opt.Dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &runner{opt: opt, log: opt.Log, layout: layout, ctx: ctx}
	r.procs.running = map[cluster.Machine]*process{}
	defer r.procs.stop()
	defer cancel()
	for _, m := range layout.Machines {
		if _, err := r.start(m.Name); err != nil {
			return err
		}
	}
	control := make(chan error, 1)
	go func() { control <- r.serveControl(ctx) }()
	if err := r.ready(ctx, fresh); err != nil {
		return err
	}
	if err := r.show(); err != nil {
		return err
	}
	if opt.Mail != "" {
		if err := r.deliverMail(ctx, opt.Mail); err != nil {
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
	return printScreen(r.opt.Out, r.layout)
}
