package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// server is a mail server with one user, and a directory of its own.
type server interface {
	// start serves, on the data of an earlier start if there was one.
	start(ctx context.Context) error
	stop() error
	// doors are where clients may come in, which is measured for each.
	doors() []door
	// root is the process whose descendants, itself included, are the server.
	root() int
	// version is that of the server's package.
	version() string
	// storage are those of them that run sessions.
	storage() ([]int, error)
}

// door is an address of a server, and who logs in there.
type door struct {
	name           string // a column of the tables
	address        string
	user, password string
}

// process is a server's first process.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
	how   error         // it ended, once it has
}

// run starts a command whose output goes to a file in dir.
func run(dir string, cmd *exec.Cmd) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, "out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.how = cmd.Wait()
	}()
	return p, nil
}

// end asks the process to end, and waits until it has.
func (p *process) end(s syscall.Signal) error {
	if p == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.ended
	if _, ended := errors.AsType[*exec.ExitError](p.how); ended {
		return nil // by the signal, or with the status that says so
	}
	return p.how
}

// startTime is how long a server may take to answer.
const startTime = 3 * time.Minute

// await returns when somebody listens at the address, or the process has ended.
func (p *process) await(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	var d net.Dialer
	for {
		nc, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			return nc.Close()
		}
		select {
		case <-p.ended:
			return fmt.Errorf("wait for %s: process ended: %v", address, p.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", address, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// freeAddress is an address on loopback that nobody has now.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// portOf is the port of an address of freeAddress.
func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// version says which version of a package was unpacked in dir.
func version(dir, name string) string {
	const none = "the version that is installed"
	debs, err := filepath.Glob(filepath.Join(dir, "debs", name+"_*.deb"))
	if err != nil || len(debs) == 0 {
		return none
	}
	if f := strings.Split(filepath.Base(debs[0]), "_"); len(f) == 3 {
		return f[1]
	}
	return none
}

// dropCaches empties the kernel's caches of files.
func dropCaches() error {
	syscall.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0); err != nil {
		return fmt.Errorf("drop caches: %w", err)
	}
	return nil
}

// merged are directories that a package may still put beside /usr.
var merged = []string{"bin", "lib", "sbin"}

// unpack puts Debian packages, and what they depend on and is not installed, into
// dir, without installing anything: Debian's Cyrus and Dovecot exclude each other.
func unpack(ctx context.Context, dir string, packages ...string) error {
	done := filepath.Join(dir, "unpacked")
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	debs := filepath.Join(dir, "debs")
	if err := os.MkdirAll(filepath.Join(debs, "partial"), 0o755); err != nil {
		return err
	}
	get := append([]string{
		"install", "-y", "--download-only", "--no-install-recommends", "-o", "Dir::Cache::archives=" + debs, "-o", "APT::Sandbox::User=root",
	}, packages...)
	if out, err := exec.CommandContext(ctx, "apt-get", get...).CombinedOutput(); err != nil {
		return &missingError{fmt.Sprintf("fetch %s: %v: %s", strings.Join(packages, " "), err, out)}
	}
	found, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range found {
		if out, err := exec.CommandContext(ctx, "dpkg", "-x", deb, dir).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w: %s", deb, err, out)
		}
	}
	for _, name := range merged {
		beside := filepath.Join(dir, name)
		if _, err := os.Stat(beside); err != nil {
			continue
		}
		if out, err := exec.CommandContext(ctx, "cp", "-a", beside+"/.", filepath.Join(dir, "usr", name)).CombinedOutput(); err != nil {
			return fmt.Errorf("merge %s: %w: %s", beside, err, out)
		}
	}
	return os.WriteFile(done, nil, 0o644)
}

// inside is a command that sees what is unpacked in dir laid over /usr, which nobody
// else does.
func inside(ctx context.Context, dir string, command ...string) *exec.Cmd {
	script := `mount -t overlay overlay -o lowerdir="$0/usr:/usr" /usr && exec "$@"`
	args := append([]string{"-m", "--propagation", "private", "sh", "-c", script, dir}, command...)
	return exec.CommandContext(ctx, "unshare", args...)
}

// write writes a file of a server's configuration.
func write(path, text string) error { return os.WriteFile(path, []byte(text), 0o644) }
