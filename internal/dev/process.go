package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// stopTime is how long a machine may take to end before it is killed.
const stopTime = 10 * time.Second

// process is one running machine.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// processes owns the machines' processes.
type processes struct {
	mu      sync.Mutex
	running map[cluster.Machine]*process
	stopped bool
}

var errRunning = errors.New("is running already")

// launch starts machine m unless it runs; exited is called when it ends.
func (p *processes) launch(binary string, l Layout, m Machine, exited func(error)) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return 0, fmt.Errorf("start %s: the cluster is being stopped", m.Name)
	}
	if p.running[m.Name] != nil {
		return 0, fmt.Errorf("%s %w", m.Name, errRunning)
	}
	log, err := os.OpenFile(l.logOf(m.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, fmt.Errorf("open log of %s: %w", m.Name, err)
	}
	cmd := exec.Command(binary, "serve", "--until-eof", "--config", filepath.Join(l.machineDir(m), configFile))
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own: Ctrl-C reaches only the owner. The pipe: when the owner
	// is gone, however it ended, the machine reads its end and stops.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	_, err = cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	log.Close() // the child has its own
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", m.Name, err)
	}
	pr := &process{cmd, make(chan struct{})}
	p.running[m.Name] = pr
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		delete(p.running, m.Name)
		p.mu.Unlock()
		close(pr.done)
		exited(err)
	}()
	return cmd.Process.Pid, nil
}

// stop ends every machine and waits until all have.
func (p *processes) stop() {
	p.mu.Lock()
	p.stopped = true
	var all []*process
	for _, pr := range p.running {
		all = append(all, pr)
	}
	p.mu.Unlock()
	for _, pr := range all {
		_ = pr.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by now
		_ = pr.cmd.Process.Signal(syscall.SIGCONT) // a stopped process hears nothing else
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	for _, pr := range all {
		select {
		case <-pr.done:
		case <-ctx.Done():
			_ = pr.cmd.Process.Kill()
			<-pr.done
		}
	}
}
