package peers

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	measurePeers = flag.Bool("peers", false, "measure Tandemail, Cyrus and Dovecot")
	dirFlag      = flag.String("peers.dir", "", "a directory on the disk to be measured; a temporary one")
	serversFlag  = flag.String("peers.servers", "tandemail,cyrus,dovecot", "which, in this order")
	messagesFlag = flag.Int("peers.messages", 50_000, "messages of the mailbox")
	sizeFlag     = flag.Int("peers.size", 3072, "octets of a message, about")
	timesFlag    = flag.Int("peers.times", 3, "how often a warm command is measured")
	appendsFlag  = flag.Int("peers.appends", 1000, "messages appended one by one")
	idleFlag     = flag.Int("peers.idle", 2000, "idle sessions; 0: do not measure them")
	settleFlag   = flag.Duration("peers.settle", 130*time.Second, "how long a server is given to give memory back; Go's takes 2 minutes")
	coldFlag     = flag.Bool("peers.cold", true, "measure with empty caches as well, which needs root")
)

// options are what is measured.
type options struct {
	messages, size, times, appends, idle int
	cold                                 bool
	settle                               time.Duration
	settings                             string // added to the configuration of Cyrus or Dovecot
}

// TestPeers measures one server after another. It needs Linux; the other servers need
// Debian's apt-get and dpkg, and root for a view of /usr that is theirs alone. Nothing
// is installed.
func TestPeers(t *testing.T) {
	if !*measurePeers {
		t.Skip("a measurement: it runs with the flag -peers")
	}
	if *timesFlag < 1 || *messagesFlag < 5 {
		t.Fatal("-peers.times must be at least 1, -peers.messages at least 5")
	}
	o := options{
		messages: *messagesFlag, size: *sizeFlag, times: *timesFlag, appends: *appendsFlag, idle: *idleFlag,
		cold: *coldFlag && os.Geteuid() == 0, settle: *settleFlag,
	}
	if *coldFlag && !o.cold {
		t.Log("without root nothing is measured with empty caches")
	}
	root := workplace(t)
	r := newReport()
	for name := range strings.SplitSeq(*serversFlag, ",") {
		t.Run(name, func(t *testing.T) {
			s, err := newServer(t.Context(), name, filepath.Join(root, name), o)
			if missing, ok := errors.AsType[*missingError](err); ok {
				t.Skip(missing)
			}
			if err != nil {
				t.Fatal(err)
			}
			m := &measuring{options: o, server: s, report: r, note: t.Logf}
			err = s.start(t.Context())
			if err == nil {
				err = m.all(t.Context())
			}
			if err := errors.Join(err, s.stop()); err != nil {
				t.Fatal(err)
			}
		})
	}
	if err := r.print(os.Stdout, o); err != nil {
		t.Fatal(err)
	}
}

// workplace is the directory for all servers; the other servers' users can get in.
func workplace(t *testing.T) string {
	t.Helper()
	dir := *dirFlag
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "tandemail-peers-"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// missingError is why a server cannot be measured on this host.
type missingError struct{ why string }

func (e *missingError) Error() string { return e.why }

// newServer prepares a server, which has nothing yet, in dir.
func newServer(ctx context.Context, name, dir string, o options) (server, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if name == "tandemail" {
		binary := filepath.Join(dir, "tandemail")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "../../cmd/tandemail").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build: %w\n%s", err, out)
		}
		return newTandemail(ctx, binary, dir, o.idle+100)
	}
	if os.Geteuid() != 0 {
		return nil, &missingError{name + " needs root"}
	}
	for _, program := range []string{"apt-get", "dpkg", "unshare", "mount"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, &missingError{name + " needs " + program}
		}
	}
	switch name {
	case "cyrus":
		return newCyrus(ctx, dir, o.settings)
	case "dovecot":
		return newDovecot(ctx, dir, o.settings)
	}
	return nil, fmt.Errorf("there is no server %q", name)
}
