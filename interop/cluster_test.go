package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/tandemail/tandemail/internal/bench"
)

// cluster is the one that all tests of a run use, each with users of its own.
var cluster struct {
	Dir      string
	Machines []machine
	Users    []struct{ User, Password string }
	next     int
	binary   string
}

type machine struct {
	Name, LMTP, IMAP, POP3, HTTP string
	PID                          int
}

const (
	startTime  = time.Minute
	clientTime = 2 * time.Minute // for one run of a client
)

// running ends the cluster, if a test has started it.
var running = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	running()
	os.Exit(code)
}

// start starts the cluster when the first test asks for it.
var start = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "tandemail-interop-")
	if err != nil {
		return err
	}
	binary := filepath.Join(dir, "tandemail")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/tandemail").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	cluster.binary = binary
	cmd := exec.Command(binary, "--dir", filepath.Join(dir, "c"), "--json", "dev")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	running = func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait() // how it ended is not what is tested here
		_ = os.RemoveAll(dir)
	}
	late := time.AfterFunc(startTime, func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &cluster)
	}
	if !late.Stop() || err != nil {
		return fmt.Errorf("read the line of JSON: %w", err)
	}
	return nil
})

// account is a user of the cluster whom no other test has.
type account struct {
	t                  testing.TB
	user, password     string
	lmtp, imap, pop3   string
	imapHost, imapPort string
	pop3Host, pop3Port string
	dir                string // for the client's files
}

func newAccount(t testing.TB) *account {
	t.Helper()
	if err := start(); err != nil {
		t.Fatalf("start a cluster: %v", err)
	}
	if cluster.next == len(cluster.Users) {
		t.Fatal("there are more tests than users")
	}
	u := cluster.Users[cluster.next]
	m := cluster.Machines[cluster.next%len(cluster.Machines)]
	cluster.next++
	a := &account{t: t, user: u.User, password: u.Password, dir: t.TempDir()}
	a.through(m)
	a.empty()
	return a
}

// through has clients come in at a machine.
func (a *account) through(m machine) {
	a.lmtp, a.imap, a.pop3 = m.LMTP, m.IMAP, m.POP3
	a.imapHost, a.imapPort, _ = net.SplitHostPort(a.imap)
	a.pop3Host, a.pop3Port, _ = net.SplitHostPort(a.pop3)
}

// operate runs a command of the cluster's operator.
func (a *account) operate(args ...string) string {
	a.t.Helper()
	return a.run(cluster.binary, append([]string{"--dir", cluster.Dir, "--json"}, args...)...)
}

// login is another client's session.
func (a *account) login() *imapclient.Client {
	a.t.Helper()
	c, err := imapclient.DialInsecure(a.imap, nil)
	if err == nil {
		err = c.Login(a.user, a.password).Wait()
	}
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = c.Close() })
	return c
}

// empty removes the sample mail.
func (a *account) empty() {
	a.t.Helper()
	c := a.login()
	box, err := c.Select("INBOX", nil).Wait()
	if err != nil {
		a.t.Fatal(err)
	}
	if box.NumMessages == 0 {
		return
	}
	all := imap.SeqSet{{Start: 1, Stop: 0}}
	if err := c.Store(all, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		a.t.Fatal(err)
	}
	if err := c.Expunge().Close(); err != nil {
		a.t.Fatal(err)
	}
}

// deliver sends n messages; their subjects are "message 1" and so on.
func (a *account) deliver(n int) {
	a.t.Helper()
	nc, err := net.Dial("tcp", a.lmtp)
	if err != nil {
		a.t.Fatal(err)
	}
	defer nc.Close()
	c, err := bench.NewLMTP(nc, "interop.invalid")
	if err != nil {
		a.t.Fatal(err)
	}
	for i := range n {
		text := fmt.Sprintf("From: sender@example.net\r\nTo: %s\r\nSubject: message %d\r\nMessage-ID: <%d.%s>\r\nDate: Wed, 4 Mar 2026 12:00:00 +0000\r\n\r\nText %d\r\n.dot\r\n", a.user, i+1, i+1, a.user, i+1)
		replies, err := c.Chunk("sender@example.net", []string{a.user}, []byte(text))
		if err != nil || replies[0].Code != 250 {
			a.t.Fatalf("deliver: %v, %v", replies, err)
		}
	}
	if err := c.Quit(); err != nil {
		a.t.Fatal(err)
	}
}

// flags of the messages of a mailbox, by subject.
func (a *account) flags(mailbox string) map[string][]imap.Flag {
	a.t.Helper()
	c := a.login()
	box, err := c.Select(mailbox, nil).Wait()
	if err != nil {
		a.t.Fatal(err)
	}
	out := map[string][]imap.Flag{}
	if box.NumMessages == 0 {
		return out
	}
	messages, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{Flags: true, Envelope: true}).Collect()
	if err != nil {
		a.t.Fatal(err)
	}
	for _, m := range messages {
		out[m.Envelope.Subject] = m.Flags
	}
	return out
}

// path is a file of the client's; text is written there unless it is "".
func (a *account) path(name, text string) string {
	a.t.Helper()
	p := filepath.Join(a.dir, name)
	if text != "" {
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return p
}

// fill replaces {user}, {password}, {imaphost}, {imapport}, {pop3host}, {pop3port} and {dir}.
func (a *account) fill(text string) string {
	return strings.NewReplacer(
		"{user}", a.user, "{password}", a.password, "{imaphost}", a.imapHost, "{imapport}", a.imapPort,
		"{pop3host}", a.pop3Host, "{pop3port}", a.pop3Port, "{dir}", a.dir,
	).Replace(text)
}

// run runs a client, which must succeed, and returns what it prints.
func (a *account) run(name string, args ...string) string {
	a.t.Helper()
	out, err := a.try(name, args...)
	if err != nil {
		a.t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return out
}

// try runs a client and returns what it prints, and how it ended.
func (a *account) try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.t.Context()), clientTime) // a cleanup runs it, too
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = a.dir
	cmd.Env = append(os.Environ(), "HOME="+a.dir, "TERM=xterm", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// need skips the test if a client is not installed.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

// maildir reads the messages of a Maildir: subject to file name.
func maildir(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, sub := range []string{"cur", "new"} {
		files, err := filepath.Glob(filepath.Join(dir, sub, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			r, err := os.Open(f)
			if err != nil {
				t.Fatal(err)
			}
			h, err := textproto.NewReader(bufio.NewReader(r)).ReadMIMEHeader()
			_ = r.Close()
			if err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			out[h.Get("Subject")] = f
		}
	}
	return out
}
