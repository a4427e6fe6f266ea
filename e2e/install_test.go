package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/bench"
)

// TestThreeHostsBecomeACluster does as docs/install.md says, and then what goes wrong.
func TestThreeHostsBecomeACluster(t *testing.T) {
	needDev(t)
	s := newSite(t, "m1", "m2", "m3", "m4")
	m1, m2, m3, m4 := s.hosts["m1"], s.hosts["m2"], s.hosts["m3"], s.hosts["m4"]
	if _, err := command(t.Context(), append([]string{"init", "--cluster", "site"}, m1.flags()...)...); err != nil {
		t.Fatal(err)
	}
	if _, err := command(t.Context(), append([]string{"init", "--cluster", "other"}, m1.flags()...)...); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a second init: %v", err)
	}
	m1.serve()

	token := m1.token()
	wantRefused(t, m2.join(forged(t, token)), "not known to the cluster")
	wantRefused(t, m2.join(m1.token("--machine", "m9")), "for another machine")
	wantRefused(t, m2.join(m1.token("--roles", "control"), "--roles", "storage"), "does not allow role")
	if err := m2.join(token); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, m4.join(token), "used already")
	m2.serve()
	if err := m3.join(m2.token("--machine", "m3")); err != nil { // m2 lets machines in, too
		t.Fatal(err)
	}
	m3.serve()
	m1.until(func(s status) string { return up(s, 3) })
	if out := string(m1.must("machine", "check")); strings.Count(out, "answers in") != 6 || strings.Count(out, "reached") != 12 {
		t.Errorf("not every machine reaches every other:\n%s", out)
	}

	m1.must("store", "create")
	m1.settle(3)
	u := user{"a@example.test", "secret"}
	m1.must("user", "add", u.User, "--password", u.Password)
	m1.must("user", "where", u.User)
	deliverOne(t, m3, u, "before")

	waitForVoters(t, 3, m2, m3) // a new member has its vote a moment after its machine is up
	m1.end(syscall.SIGKILL)     // with a third of the coordinator: the others go on
	deliverOne(t, m2, u, "after")
	m2.must("user", "add", "b@example.test", "--password", "secret")
	for _, h := range []*host{m2, m3} {
		readBoth(t, h, u)
	}
	m1.serve()
	m1.settle(3)
	rotateCA(t, m1, m2, m3)
	m1.settle(3)
	removeThird(t, m1, m3)
	readBoth(t, m1, u)
}

// rotateCA replaces the CA as docs/pki.md says. One machine is off at first, and
// another is killed and started with the new one alone.
func rotateCA(t *testing.T, m1, m2, m3 *host) {
	t.Helper()
	token := m1.token()
	m3.end(syscall.SIGTERM)
	_, err := m1.ask(t.Context(), "pki", "rotate-ca", "--yes")
	wantRefused(t, err, "stage believe is done but for m3")
	m3.serve()
	m2.until(func(s status) string { return up(s, 3) })
	if _, err := m2.ask(t.Context(), "pki", "rotate-ca", "--yes"); err != nil {
		t.Fatalf("%v\n%s", err, m2.lastLog())
	}
	var p api.PKI
	if err := json.Unmarshal(m1.must("pki", "show", "--json"), &p); err != nil {
		t.Fatal(err)
	}
	if len(p.Authorities) != 1 || len(p.Problems) != 0 || p.Rotation != nil {
		t.Errorf("after the change of the CA: %+v", p)
	}
	m2.end(syscall.SIGKILL)
	m2.serve()
	if list := string(m1.must("token", "list", "--json")); strings.TrimSpace(list) != "[]" {
		t.Errorf("tokens of the old CA: %s", list)
	}
	wantRefused(t, m1.site.hosts["m4"].join(token), "its CA was replaced")
}

// removeThird takes a machine out: not while it is needed, and then at once.
func removeThird(t *testing.T, m1, m3 *host) {
	t.Helper()
	intruder := m3.as(m1)
	if out, err := m1.ask(t.Context(), "machine", "remove", "m3"); err == nil {
		m1.must("machine", "undrain", "m3") // it had no master by chance
		t.Logf("removed without drain: %s", out)
	} else {
		wantRefused(t, err, "is needed")
		m1.must("machine", "drain", "m3")
		m1.must("machine", "remove", "m3")
	}
	intruder.wantShutOut()
	select {
	case <-m3.ended:
	case <-time.After(10 * time.Second):
		t.Errorf("a machine that was removed goes on\n%s", m3.lastLog())
	}
	m1.until(func(s status) string {
		if why := up(s, 2); why != "" {
			return why
		}
		return unsettled(s, 2)
	})
	m3.end(syscall.SIGTERM)
	m3.serve()
	select {
	case <-m3.ended:
	case <-time.After(10 * time.Second):
		t.Errorf("a machine that was removed has come back\n%s", m3.lastLog())
	}
}

// waitForVoters waits until one of the hosts has noted so many members of the coordinator
// that have a vote: who gets his last notes all.
func waitForVoters(t *testing.T, n int, hosts ...*host) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyTime)
	defer cancel()
	for {
		said := ""
		for _, h := range hosts {
			var noted struct {
				Members []string `json:"members"`
			}
			b, err := os.ReadFile(filepath.Join(h.dir, "meta", "coordinator.json"))
			if err == nil {
				err = json.Unmarshal(b, &noted)
			}
			if len(noted.Members) == n {
				return
			}
			said += fmt.Sprintf("%s: %q (%v)\n", h.name, noted.Members, err)
		}
		if !pause(ctx, 200*time.Millisecond) {
			t.Fatalf("members with a vote, of which there should be %d:\n%s", n, said)
		}
	}
}

// up says what keeps exactly so many machines from being up.
func up(s status, machines int) string {
	for _, m := range s.Machines {
		if m.State != "up" {
			return m.Name + " is " + m.State
		}
	}
	if len(s.Machines) != machines {
		return fmt.Sprintf("%d machines", len(s.Machines))
	}
	return ""
}

func wantRefused(t *testing.T, err error, why string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("got %v\nwant a refusal: %s", err, why)
	}
}

// forged is a whole token of that cluster, with a secret that nobody was given.
func forged(t *testing.T, token string) string {
	t.Helper()
	form, body, _ := strings.Cut(token, "-")
	b, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		t.Fatal(err)
	}
	var d map[string]any
	if err := json.Unmarshal(b[:len(b)-4], &d); err != nil {
		t.Fatal(err)
	}
	d["s"] = bytes.Repeat([]byte{7}, 16)
	b, err = json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return form + "-" + base64.RawURLEncoding.EncodeToString(append(b, sum[:4]...))
}

// deliverOne delivers a message, as an MTA that tries again does.
func deliverOne(t *testing.T, h *host, u user, subject string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyTime)
	defer cancel()
	for {
		err := tryDeliver(ctx, h.addr("lmtp-port"), u, subject)
		if err == nil {
			return
		}
		if !pause(ctx, 200*time.Millisecond) {
			t.Fatalf("deliver at %s: %v\n%s", h.name, err, h.lastLog())
		}
	}
}

func tryDeliver(ctx context.Context, addr string, u user, subject string) error {
	reply, err := attempt(ctx, addr, u.User, subject)
	if err == nil && !reply.OK() {
		err = fmt.Errorf("answered %v", reply)
	}
	return err
}

// attempt delivers once. Without an error the reply is the recipient's.
func attempt(ctx context.Context, addr, to, subject string) (bench.Reply, error) {
	d := net.Dialer{Timeout: dialTime}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return bench.Reply{}, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(answerTime))
	c, err := bench.NewLMTP(conn, "install.invalid")
	if err != nil {
		return bench.Reply{}, err
	}
	replies, err := c.Data("x@example.test", []string{to}, []byte("Subject: "+subject+"\r\n\r\nx\r\n"))
	if err != nil {
		return bench.Reply{}, err
	}
	_ = c.Quit() // the answer is here
	return replies[0], nil
}

// readBoth finds both messages in the mailbox.
func readBoth(t *testing.T, h *host, u user) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyTime)
	defer cancel()
	s, err := login(ctx, h.addr("imap-port"), u)
	if err != nil {
		t.Fatalf("%v\n%s", err, h.lastLog())
	}
	defer s.Close()
	err = s.do(func() error {
		data, err := s.Select("INBOX", nil).Wait()
		if err == nil && data.NumMessages != 2 {
			err = fmt.Errorf("%d messages", data.NumMessages)
		}
		return err
	})
	if err != nil {
		t.Errorf("read at %s: %v", h.name, err)
	}
}
