package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// site are hosts that an operator makes machines of: on loopback, or in network
// namespaces of their own.
type site struct {
	t     *testing.T // that now runs: a test, or a part of it
	hosts map[string]*host
}

// host is one of them: a directory, an address or ports of its own, and perhaps a
// process.
type host struct {
	site  *site
	name  string
	dir   string
	ip    string
	space string // its network namespace; "": the test's
	ports map[string]int
	runs  string // the program
	cmd   *exec.Cmd
	ended chan struct{} // of cmd
}

// portFlags are the ports that a host needs, and how many of each.
var portFlags = map[string]int{"internal-port": 1, "lmtp-port": 1, "imap-port": 1, "http-port": 1, "member-port": 2}

func newSite(t *testing.T, names ...string) *site {
	t.Helper()
	s := &site{t: t, hosts: map[string]*host{}}
	port := freePorts(t, len(names)*len(portFlags)*2)
	for _, name := range names {
		h := &host{site: s, name: name, dir: filepath.Join(t.TempDir(), name), ip: "127.0.0.1", ports: map[string]int{}, runs: binary}
		for flag, n := range portFlags {
			h.ports[flag] = port
			port += n
		}
		s.hosts[name] = h
		t.Cleanup(func() { h.end(syscall.SIGTERM) })
	}
	return s
}

// freePorts finds the first of n ports in a row that nobody has, below those that
// the kernel gives to outgoing connections. It gives none twice.
func freePorts(t *testing.T, n int) int {
	t.Helper()
next:
	for first := nextPort; first < 30_000; first += n {
		for i := range n {
			ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(first+i)))
			if err != nil {
				continue next
			}
			ln.Close()
		}
		nextPort = first + n
		return first
	}
	t.Fatalf("no %d free ports in a row", n)
	return 0
}

var nextPort = 12_000 + os.Getpid()%4_000

func (h *host) addr(flag string) string {
	ip := h.ip
	if flag == "http-port" {
		ip = "127.0.0.1"
	}
	return net.JoinHostPort(ip, strconv.Itoa(h.ports[flag]))
}

func (h *host) config() string { return filepath.Join(h.dir, "etc", "tandemail.toml") }

// flags say where things are on this host.
func (h *host) flags() []string {
	out := []string{
		"--name", h.name, "--address", h.ip, "--config", h.config(),
		"--meta", filepath.Join(h.dir, "meta"), "--spool", filepath.Join(h.dir, "spool"),
	}
	for flag, port := range h.ports {
		out = append(out, "--"+flag, strconv.Itoa(port))
	}
	return out
}

// configure puts lines into a section of the configuration that was written.
func (h *host) configure(section string, lines ...string) {
	h.site.t.Helper()
	b, err := os.ReadFile(h.config())
	if err != nil {
		h.site.t.Fatal(err)
	}
	head := "[" + section + "]\n"
	text := strings.Replace(string(b), head, head+strings.Join(lines, "\n")+"\n", 1)
	if text == string(b) {
		h.site.t.Fatalf("%s has no section %s", h.config(), section)
	}
	if err := os.WriteFile(h.config(), []byte(text), 0o600); err != nil {
		h.site.t.Fatal(err)
	}
}

// command runs the program; failure is what it says on standard error.
func command(ctx context.Context, args ...string) (stdout []byte, failure error) {
	return output(ctx, append([]string{binary}, args...))
}

// program is how the program is run on this host.
func (h *host) program(args ...string) []string {
	argv := append([]string{h.runs}, args...)
	if h.space != "" {
		argv = append([]string{"ip", "netns", "exec", h.space}, argv...)
	}
	return argv
}

// output runs a command line. Exit code 3, "done, but the cluster is unhealthy", is no
// failure.
func output(ctx context.Context, argv []string) (stdout []byte, failure error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// ask runs a command against this host's machine.
func (h *host) ask(ctx context.Context, args ...string) ([]byte, error) {
	return output(ctx, h.program(append([]string{"--api", "http://" + h.addr("http-port")}, args...)...))
}

// must is ask for what has to work within a while: a machine that has just started
// does not answer yet.
func (h *host) must(args ...string) []byte {
	h.site.t.Helper()
	ctx, cancel := context.WithTimeout(h.site.t.Context(), readyTime)
	defer cancel()
	for {
		out, err := h.ask(ctx, args...)
		if err == nil {
			return out
		}
		if !pause(ctx, 200*time.Millisecond) {
			h.site.t.Fatalf("%v\n%s", err, h.lastLog())
		}
	}
}

func (h *host) lastLog() string {
	b, _ := os.ReadFile(filepath.Join(h.dir, "log"))
	return "log of " + h.name + ":\n" + string(b[max(0, len(b)-4<<10):])
}

// serve starts the daemon.
func (h *host) serve() {
	h.site.t.Helper()
	argv := h.program("serve", "--config", h.config())
	h.start(exec.Command(argv[0], argv[1:]...))
}

// start starts it by that command.
func (h *host) start(cmd *exec.Cmd) {
	t := h.site.t
	t.Helper()
	log, err := os.OpenFile(filepath.Join(h.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in its log
	}()
	h.cmd, h.ended = cmd, ended
}

// end ends the daemon, if it runs, and waits.
func (h *host) end(s syscall.Signal) {
	if h.cmd == nil {
		return
	}
	_ = h.cmd.Process.Signal(s) // it may have ended
	select {
	case <-h.ended:
	case <-time.After(stopTime):
		h.site.t.Errorf("%s did not end\n%s", h.name, h.lastLog())
		_ = h.cmd.Process.Kill()
		<-h.ended
	}
	h.cmd = nil
}

// join makes this host a machine with a token from another.
func (h *host) join(token string, more ...string) error {
	_, err := output(h.site.t.Context(), h.program(append(append([]string{"join", token}, h.flags()...), more...)...))
	return err
}

// found makes the hosts machines of one cluster, and starts them.
func (s *site) found(first *host, others ...*host) {
	s.t.Helper()
	if _, err := command(s.t.Context(), append([]string{"init"}, first.flags()...)...); err != nil {
		s.t.Fatal(err)
	}
	first.serve()
	for _, h := range others {
		if err := h.join(first.token()); err != nil {
			s.t.Fatal(err)
		}
		h.serve()
	}
	first.until(func(st status) string { return up(st, 1+len(others)) })
}

// found makes this host the first machine of a cluster.
func (h *host) found(more ...string) {
	h.site.t.Helper()
	if _, err := output(h.site.t.Context(), h.program(append(append([]string{"init"}, h.flags()...), more...)...)); err != nil {
		h.site.t.Fatal(err)
	}
}

// follow makes this host a machine with a token from another, and starts it.
func (h *host) follow(other *host, flags ...string) {
	h.site.t.Helper()
	if err := h.join(other.token(flags...)); err != nil {
		h.site.t.Fatal(err)
	}
	h.serve()
}

// token makes one.
func (h *host) token(flags ...string) string {
	h.site.t.Helper()
	return strings.TrimSpace(string(h.must(append([]string{"token", "create"}, flags...)...)))
}

// settle waits until so many machines are up and every copy is in sync.
func (h *host) settle(machines int) {
	h.site.t.Helper()
	h.until(func(s status) string { return unsettled(s, machines) })
}

// until waits until why finds nothing wrong with the status.
func (h *host) until(why func(status) string) {
	t := h.site.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyTime)
	defer cancel()
	wrong := "no answer"
	for {
		var s status
		out, err := h.ask(ctx, "status", "--json")
		if err == nil {
			err = json.Unmarshal(out, &s)
		}
		if err == nil {
			wrong = why(s)
		}
		if err == nil && wrong == "" {
			return
		}
		if !pause(ctx, 200*time.Millisecond) {
			t.Fatalf("asked %s: %s (%v)\n%s", h.name, wrong, err, h.lastLog())
		}
	}
}

// signal sends the daemon a signal that does not end it.
func (h *host) signal(s syscall.Signal) {
	h.site.t.Helper()
	if err := h.cmd.Process.Signal(s); err != nil {
		h.site.t.Fatalf("%s: %v", h.name, err)
	}
}

// addUser makes a user, and waits until every front end has heard of it.
func (h *host) addUser(u user, fronts ...*host) {
	h.site.t.Helper()
	h.must("user", "add", u.User, "--password", u.Password)
	for _, f := range fronts {
		f.must("user", "where", u.User)
	}
}

func mustJSON(t *testing.T, b []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
}
