package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
)

// output is what a running command has printed, readable meanwhile.
type output struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{} // buffer of one
}

func newOutput() *output { return &output{changed: make(chan struct{}, 1)} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// command is a dev command that runs in this process, its machines in theirs.
type command struct {
	t        *testing.T
	out, err *output
	stop     context.CancelFunc
	ended    chan error
}

func start(t *testing.T, opt Options) *command {
	ctx, cancel := context.WithCancel(context.Background())
	c := &command{t: t, out: newOutput(), err: newOutput(), stop: cancel, ended: make(chan error, 1)}
	opt.Out, opt.Err, opt.Log = c.out, c.err, slog.New(slog.DiscardHandler)
	done := make(chan struct{})
	go func() { defer close(done); c.ended <- Run(ctx, opt) }()
	t.Cleanup(func() { cancel(); <-done })
	return c
}

// wait waits until o contains want.
func (c *command) wait(o *output, want string) {
	c.t.Helper()
	limit := time.After(90 * time.Second)
	for !strings.Contains(o.String(), want) {
		select {
		case <-o.changed:
		case err := <-c.ended:
			c.t.Fatalf("ended before it said %q: %v\n%s", want, err, c.err)
		case <-limit:
			c.t.Fatalf("never said %q:\n%s\n%s", want, o, c.err)
		}
	}
}

// end asks it to end, as Ctrl-C does, and wants that to be no error.
func (c *command) end() {
	c.t.Helper()
	c.stop()
	if err := <-c.ended; err != nil {
		c.t.Errorf("ended with %v", err)
	}
}

// layout is the line that --json prints when ready.
func (c *command) layout() Layout {
	c.t.Helper()
	c.wait(c.out, "\n")
	var l Layout
	d := json.NewDecoder(strings.NewReader(c.out.String()))
	if err := d.Decode(&l); err != nil {
		c.t.Fatal(err)
	}
	if rest, _, _ := strings.Cut(c.out.String(), "\n"); rest+"\n" != c.out.String() {
		c.t.Errorf("stdout has more than one line: %q", c.out)
	}
	return l
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func (c *command) healthy(l Layout) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 60*time.Second)
	defer cancel()
	client := &api.Client{Base: "http://" + l.Machines[0].HTTP, HTTP: http.DefaultClient}
	if err := retry(ctx, func() error { return healthy(ctx, client) }); err != nil {
		c.t.Fatal(err)
	}
}

// TestClusterLivesThroughKillWipeAndRestart drives real processes.
func TestClusterLivesThroughKillWipeAndRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real processes")
	}
	dir := t.TempDir()
	mbox := write(t, filepath.Join(t.TempDir(), "mbox"), "From a\nSubject: 1\n\nx\n\nFrom b\nSubject: 2\n\ny\n\nFrom b\nSubject: 2\n\ny\n")
	opt := Options{Dir: dir, JSON: true, Binary: binary, Mail: mbox}
	c := start(t, opt)
	l := c.layout()
	if l.Dir != dir || len(l.Machines) != machineCount || len(l.Users) != userCount || l.Users[0].Password == "" {
		t.Errorf("layout %+v", l)
	}
	c.wait(c.err, "3 messages arrived, 0 did not")
	if err := Run(t.Context(), opt); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second owner: %v", err)
	}

	if _, err := Start(t.Context(), dir, "m2"); err == nil || !strings.Contains(err.Error(), errRunning.Error()) {
		t.Errorf("start of a machine that runs: %v", err)
	}
	if _, err := Start(t.Context(), dir, "m9"); err == nil {
		t.Error("start of a machine that there is not")
	}
	if err := syscall.Kill(l.Machines[1].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.wait(c.err, "m2 has died: signal: killed")
	if err := os.RemoveAll(l.machineDir(l.Machines[1])); err != nil {
		t.Fatal(err)
	}
	m, err := Start(t.Context(), dir, "m2")
	if err != nil || m.PID == l.Machines[1].PID || m.LMTP != l.Machines[1].LMTP {
		t.Fatalf("started %+v, %v", m, err)
	}
	c.healthy(l)
	if now, err := Find(dir); err != nil || now.Machines[1].PID != m.PID {
		t.Errorf("layout on disk %+v, %v", now.Machines, err)
	}

	c.end()
	for _, pid := range []int{l.Machines[0].PID, m.PID, l.Machines[2].PID} {
		if alive(pid) {
			t.Errorf("process %d outlives its owner", pid)
		}
	}
	opt.Mail = ""
	again := start(t, opt)
	if now := again.layout(); now.Machines[0].LMTP != l.Machines[0].LMTP {
		t.Errorf("started again at %+v", now.Machines)
	}
	again.end()
}

func TestDeadMachineIsStartedAgainIfAskedTo(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real processes")
	}
	c := start(t, Options{Dir: t.TempDir(), JSON: true, Binary: binary, Respawn: true, Stores: 1})
	l := c.layout()
	if err := syscall.Kill(l.Machines[2].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.wait(c.err, "m3 has died")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := retry(ctx, func() error {
		now, err := Find(l.Dir)
		if err == nil && (now.Machines[2].PID == l.Machines[2].PID || !alive(now.Machines[2].PID)) {
			err = fmt.Errorf("m3 is process %d", now.Machines[2].PID)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	c.end()
}

// TestEndWhileStartingIsNoError: Ctrl-C at any moment.
func TestEndWhileStartingIsNoError(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real processes")
	}
	dir := t.TempDir()
	c := start(t, Options{Dir: dir, JSON: true, Binary: binary})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := retry(ctx, func() error { _, err := os.Stat(filepath.Join(dir, "m3", "log")); return err }); err != nil {
		t.Fatal(err)
	}
	c.end()
	if c.out.String() != "" {
		t.Errorf("printed %q", c.out)
	}
}

// TestMachineThatCannotStartIsReportedAtOnce, with its log.
func TestMachineThatCannotStartIsReportedAtOnce(t *testing.T) {
	false_, err := filepath.EvalSymlinks("/bin/false")
	if err != nil {
		t.Skip(err)
	}
	err = Run(t.Context(), Options{Dir: t.TempDir(), Binary: false_, Out: newOutput(), Err: newOutput(), Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "ended before the cluster was ready (exit status 1)") || !strings.Contains(err.Error(), "its log, ") {
		t.Error(err)
	}
}

func TestTakenAddressIsNamed(t *testing.T) {
	dir := t.TempDir()
	l, _, err := prepare(dir)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", l.Machines[1].IMAP)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	err = l.Machines[1].taken()
	if err == nil || !strings.Contains(err.Error(), "address of m2 for imap is taken") {
		t.Error(err)
	}
	if err := l.Machines[0].taken(); err != nil {
		t.Error(err)
	}
}

// TestPortsAreNotThoseOfOutgoingConnections: one of those must not have a dead
// machine's port.
func TestPortsAreNotThoseOfOutgoingConnections(t *testing.T) {
	addrs, err := ports(50)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, a := range addrs {
		_, port, err := net.SplitHostPort(a)
		if err != nil || len(port) != 5 || port < "20000" || port >= "32000" || seen[a] {
			t.Errorf("address %s", a)
		}
		seen[a] = true
	}
}

func TestDirectoryTooDeepForASocketIsNamed(t *testing.T) {
	_, err := listenControl(t.Context(), "/"+strings.Repeat("x", 200))
	if err == nil || !strings.Contains(err.Error(), "too long for a socket") {
		t.Error(err)
	}
}

func TestStartWithoutAnOwnerSaysSo(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, controlSocket), "") // what a killed owner leaves is no answer
	if _, err := Start(t.Context(), dir, cluster.Machine("m1")); err == nil || !strings.Contains(err.Error(), "no dev command runs in") {
		t.Error(err)
	}
}
