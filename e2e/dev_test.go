package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What the program prints; field names are its contract with scripts.
type (
	layout struct {
		Dir      string    `json:"dir"`
		Machines []machine `json:"machines"`
		Users    []user    `json:"users"`
	}
	machine struct {
		Name string `json:"name"`
		PID  int    `json:"pid"`
		LMTP string `json:"lmtp"`
		IMAP string `json:"imap"`
		HTTP string `json:"http"`
	}
	user struct {
		User     string `json:"user"`
		Password string `json:"password"`
	}
	status struct {
		Stores []struct {
			Name   string   `json:"name"`
			Epoch  uint64   `json:"epoch"`
			Master string   `json:"master"`
			InSync []string `json:"in_sync"`
			Slots  []struct {
				Machine string `json:"machine"`
				Role    string `json:"role"`
				Lag     uint64 `json:"lag_bytes"`
				State   string `json:"state"`
				Reason  string `json:"reason"`
			} `json:"slots"`
		} `json:"stores"`
		Machines []struct {
			Name  string `json:"name"`
			PID   int    `json:"pid"`
			State string `json:"state"`
		} `json:"machines"`
		Problems []problem `json:"problems"`
	}
	problem struct {
		Code     string `json:"code"`
		Severity string `json:"severity"`
		Store    string `json:"store"`
		Machine  string `json:"machine"`
		Text     string `json:"text"`
		Next     string `json:"next"`
	}
)

const (
	readyTime   = time.Minute      // for dev to be ready
	commandTime = 2 * time.Minute  // for one command
	stopTime    = 40 * time.Second // for dev to end
)

// cluster is a running dev cluster, or a site.
type cluster struct {
	layout
	via   *host // whom commands ask; nil: the dev cluster
	cmd   *exec.Cmd
	ended chan struct{}

	mu   sync.Mutex
	pids map[string]int // of the machines that run
}

// startDev starts a cluster in dir and stops it when the test ends.
func startDev(t *testing.T, dir string, args ...string) *cluster {
	t.Helper()
	c := &cluster{ended: make(chan struct{}), pids: map[string]int{}}
	log, err := os.Create(dir + ".log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c.cmd = exec.Command(binary, append([]string{"--dir", dir, "--json", "dev"}, args...)...)
	c.cmd.Stderr = log
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan error, 1)
	go func() {
		defer close(c.ended)
		ready <- c.readLayout(bufio.NewReader(out))
		_ = c.cmd.Wait() // how it ended is in its log
	}()
	t.Cleanup(func() { c.stop(t) })
	select {
	case err = <-ready:
	case <-time.After(readyTime):
		err = fmt.Errorf("not ready within %v", readyTime)
	}
	if err != nil {
		b, _ := os.ReadFile(dir + ".log")
		t.Fatalf("tandemail dev: %v\n%s", err, b)
	}
	return c
}

// wholeDev starts a cluster in a directory that goes with the test, and waits until every
// copy is in sync.
func wholeDev(t *testing.T, args ...string) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "tmd-") // short: a socket lives in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir); os.Remove(dir + ".log") })
	c := startDev(t, dir, args...)
	if err := c.settle(t.Context(), settleTime); err != nil {
		t.Fatal(err)
	}
	return c
}

// readLayout reads the one line of JSON.
func (c *cluster) readLayout(r *bufio.Reader) error {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the line of JSON: %w", err)
	}
	if err := json.Unmarshal(line, &c.layout); err != nil {
		return fmt.Errorf("line %q: %w", line, err)
	}
	for _, m := range c.Machines {
		c.pids[m.Name] = m.PID
	}
	if len(c.Machines) == 0 || len(c.Users) == 0 {
		return fmt.Errorf("line %q: no machine or no user", line)
	}
	return nil
}

func (c *cluster) stop(t *testing.T) {
	for _, m := range c.Machines {
		_ = c.signal(m.Name, syscall.SIGCONT) // a stopped one would not hear that it should end
	}
	_ = c.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-c.ended:
	case <-time.After(stopTime):
		t.Errorf("tandemail dev did not end within %v of SIGINT", stopTime)
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}

// signal sends s to a machine's process.
func (c *cluster) signal(name string, s syscall.Signal) error {
	c.mu.Lock()
	pid := c.pids[name]
	c.mu.Unlock()
	if pid == 0 {
		return fmt.Errorf("%s does not run", name)
	}
	err := syscall.Kill(pid, s)
	if errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%s (process %d) has ended by itself: see %s", name, pid, filepath.Join(c.Dir, name, "log"))
	}
	if err != nil {
		return fmt.Errorf("send %v to %s (process %d): %w", s, name, pid, err)
	}
	return nil
}

// kill ends a machine at once, as kill -9 does.
func (c *cluster) kill(name string) error {
	err := c.signal(name, syscall.SIGKILL)
	c.mu.Lock()
	c.pids[name] = 0
	c.mu.Unlock()
	return err
}

// start starts a machine that was killed. The owner of the processes may not have
// noticed its end yet, so it is asked again for a while.
func (c *cluster) start(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	for {
		out, err := c.run(ctx, "machine", "start", name)
		if err == nil {
			var m machine
			if err := json.Unmarshal(out, &m); err != nil || m.PID == 0 {
				return fmt.Errorf("start %s: answer %q names no process: %w", name, out, err)
			}
			c.mu.Lock()
			c.pids[name] = m.PID
			c.mu.Unlock()
			return nil
		}
		if !pause(ctx, 100*time.Millisecond) {
			return err
		}
	}
}

// wipe deletes everything that a killed machine had on disk.
func (c *cluster) wipe(name string) error { return os.RemoveAll(filepath.Join(c.Dir, name)) }

// run runs a command against the cluster and returns its answer. Exit code 3, "done,
// but the cluster is unhealthy", is no error.
func (c *cluster) run(ctx context.Context, args ...string) ([]byte, error) {
	if c.via != nil {
		return c.via.ask(ctx, append([]string{"--json"}, args...)...)
	}
	return command(ctx, append([]string{"--dir", c.Dir, "--json"}, args...)...)
}

func (c *cluster) status(ctx context.Context) (status, error) {
	var s status
	out, err := c.run(ctx, "status")
	if err == nil {
		err = json.Unmarshal(out, &s)
	}
	return s, err
}

// settle waits until every machine is up and every copy is in sync and level.
func (c *cluster) settle(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		s, err := c.status(ctx)
		why := unsettled(s, len(c.Machines))
		if err == nil && why == "" {
			return nil
		}
		if !pause(ctx, 200*time.Millisecond) {
			return fmt.Errorf("not settled within %v: %s (%w)", limit, why, errors.Join(err, ctx.Err()))
		}
	}
}

// unsettled says what keeps the cluster from being whole, "" if nothing does.
func unsettled(s status, machines int) string {
	if len(s.Machines) < machines || len(s.Stores) == 0 {
		return fmt.Sprintf("%d machines, %d stores", len(s.Machines), len(s.Stores))
	}
	for _, m := range s.Machines {
		if m.State != "up" {
			return m.Name + " is " + m.State
		}
	}
	for _, st := range s.Stores {
		if st.Master == "" || len(st.InSync) < len(st.Slots) || len(st.Slots) < 2 {
			return fmt.Sprintf("%s: master %q, in sync %v", st.Name, st.Master, st.InSync)
		}
		for _, sl := range st.Slots {
			if sl.State != "ok" {
				return fmt.Sprintf("%s on %s is %s", st.Name, sl.Machine, sl.State)
			}
		}
	}
	return ""
}

// compareCopies compares the digests of all copies. Under a trickle of background
// operations two copies may be asked at different ends, so it tries for a while.
func (c *cluster) compareCopies(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := c.equalDigests(ctx)
		if err == nil || !pause(ctx, 300*time.Millisecond) {
			return err
		}
	}
}

func (c *cluster) equalDigests(ctx context.Context) error {
	out, err := c.run(ctx, "store", "digest")
	if len(out) == 0 && err != nil {
		return err
	}
	return judgeDigests(out)
}

// judgeDigests reads what store digest has answered.
func judgeDigests(out []byte) error {
	var reports []struct {
		Store  string `json:"store"`
		Equal  bool   `json:"equal"`
		Copies []struct {
			Machine string `json:"machine"`
			LSN     uint64 `json:"lsn"`
			Digest  string `json:"digest"`
			Error   string `json:"error"`
		} `json:"copies"`
	}
	if err := json.Unmarshal(out, &reports); err != nil {
		return fmt.Errorf("answer %q: %w", out, err)
	}
	if len(reports) == 0 {
		return errors.New("no store was compared")
	}
	for _, r := range reports {
		if len(r.Copies) < 2 {
			return fmt.Errorf("%s: %d copies compared", r.Store, len(r.Copies))
		}
		for _, cp := range r.Copies {
			if first := r.Copies[0]; cp.Digest == "" || cp.Error != "" || cp.Digest != first.Digest || cp.LSN != first.LSN {
				return fmt.Errorf("%s: copies differ: %+v", r.Store, r.Copies)
			}
		}
		if !r.Equal {
			return fmt.Errorf("%s: said to differ: %+v", r.Store, r.Copies)
		}
	}
	return nil
}

// pause waits d and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
