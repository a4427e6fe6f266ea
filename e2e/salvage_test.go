package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/tandemail/tandemail/internal/bench"
)

// kept is a mailbox as somebody shows it: by UID, flags and octets.
type kept map[uint32]string

// TestSalvageOfAKilledMachineHasWhatIMAPHad kills every machine of a cluster, and
// takes a user's mail out of the directories of each machine that had a copy.
func TestSalvageOfAKilledMachineHasWhatIMAPHad(t *testing.T) {
	needDev(t)
	c := wholeDev(t)
	u := c.Users[0]
	store, front, err := c.frontFor(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	changeMail(t, front, u)
	want := mailOf(t, front, u)
	s, err := c.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range c.Machines {
		if err := c.kill(m.Name); err != nil {
			t.Fatal(err)
		}
	}
	copies := 0
	for _, st := range s.Stores {
		if st.Name != store {
			continue
		}
		for _, m := range st.InSync {
			copies++
			got := salvaged(t, filepath.Join(c.Dir, m), u)
			for name := range maps.Keys(want) {
				if !maps.Equal(got[name], want[name]) {
					t.Errorf("%s, %s: IMAP had %s, salvage %s", m, name, want[name].brief(), got[name].brief())
				}
			}
			if len(got) != len(want) {
				t.Errorf("%s: mailboxes %v, were %v", m, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
			}
		}
	}
	if copies != 2 {
		t.Errorf("%d copies", copies)
	}
}

// brief shows flags and the length of octets.
func (k kept) brief() string {
	var b strings.Builder
	for _, uid := range slices.Sorted(maps.Keys(k)) {
		flags, octets, _ := strings.Cut(k[uid], "\n")
		fmt.Fprintf(&b, " %d(%s, %d octets)", uid, flags, len(octets))
	}
	return b.String()
}

// changeMail delivers, appends, flags, moves and expunges.
func changeMail(t *testing.T, front machine, u user) {
	t.Helper()
	d := net.Dialer{Timeout: dialTime}
	conn, err := d.DialContext(t.Context(), "tcp", front.LMTP)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lmtp, err := bench.NewLMTP(conn, "salvage.invalid")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		text := fmt.Sprintf("Subject: salvage %d\r\n\r\n%s\r\nFrom here\r\n", i, strings.Repeat("x", 1000*i))
		if replies, err := lmtp.Data("", []string{u.User}, []byte(text)); err != nil || !replies[0].OK() {
			t.Fatalf("deliver: %v, %v", replies, err)
		}
	}
	s, err := login(t.Context(), front.IMAP, u)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	large := bytes.Repeat([]byte("a line of a large message\r\n"), 100_000)
	for name, octets := range map[string][]byte{"Drafts": []byte("Subject: draft\r\n\r\n"), "Sent": append([]byte("Subject: large\r\n\r\n"), large...)} {
		cmd := s.Append(name, int64(len(octets)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagDraft, "$Forwarded"}})
		_, err := cmd.Write(octets)
		if err == nil {
			err = cmd.Close()
		}
		if err == nil {
			_, err = cmd.Wait()
		}
		if err != nil {
			t.Fatalf("append to %s: %v", name, err)
		}
	}
	if err := s.Create("wörk.2/inner", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	sel, err := s.Select("INBOX", nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	last := sel.UIDNext - 1
	for _, step := range []struct {
		uid   imap.UID
		flags []imap.Flag
	}{{last, []imap.Flag{imap.FlagSeen, imap.FlagAnswered}}, {last - 1, []imap.Flag{imap.FlagFlagged, "important"}}, {last - 3, []imap.Flag{imap.FlagDeleted}}} {
		if err := s.Store(imap.UIDSetNum(step.uid), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: step.flags, Silent: true}, nil).Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Move(imap.UIDSetNum(last, last-2), "wörk.2/inner").Wait(); err != nil {
		t.Fatal(err)
	}
	if err := s.UIDExpunge(imap.UIDSetNum(last - 3)).Close(); err != nil {
		t.Fatal(err)
	}
}

// mailOf reads everything that a user has.
func mailOf(t *testing.T, front machine, u user) map[string]kept {
	t.Helper()
	s, err := login(t.Context(), front.IMAP, u)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	list, err := s.List("", "*", nil).Collect()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]kept{}
	for _, l := range list {
		if slices.Contains(l.Attrs, imap.MailboxAttrNonExistent) || slices.Contains(l.Attrs, imap.MailboxAttrNoSelect) {
			continue
		}
		sel, err := s.Select(l.Mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
		if err != nil {
			t.Fatal(err)
		}
		got[l.Mailbox] = kept{}
		if sel.NumMessages == 0 {
			continue
		}
		section := &imap.FetchItemBodySection{Peek: true}
		var all imap.UIDSet
		all.AddRange(1, 0)
		messages, err := s.Fetch(all, &imap.FetchOptions{Flags: true, UID: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			var flags []string
			for _, f := range m.Flags {
				if !strings.EqualFold(string(f), `\Recent`) {
					flags = append(flags, string(f))
				}
			}
			got[l.Mailbox][uint32(m.UID)] = shown(flags, m.FindBodySection(section))
		}
	}
	return got
}

// shown is one message of a kept.
func shown(flags []string, octets []byte) string {
	slices.Sort(flags)
	return strings.Join(flags, " ") + "\n" + string(octets)
}

// salvaged runs the program on a machine's directory, alone, and reads the Maildir.
func salvaged(t *testing.T, machine string, u user) map[string]kept {
	t.Helper()
	to := filepath.Join(t.TempDir(), "out")
	cmd := exec.CommandContext(t.Context(), binary, "--json", "salvage", machine, "--to", to, "--user", u.User)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	cmd.Env = []string{}
	out, err := cmd.Output()
	var r struct {
		Complete bool `json:"complete"`
		Slots    []struct {
			Accounts []struct {
				Address string `json:"address"`
				To      string `json:"to"`
			} `json:"accounts"`
		} `json:"slots"`
	}
	if err != nil || json.Unmarshal(out, &r) != nil || !r.Complete {
		t.Fatalf("salvage %s: %v\n%s\n%s", machine, err, out, &stderr)
	}
	for _, s := range r.Slots {
		for _, a := range s.Accounts {
			if a.Address == u.User {
				return maildir(t, a.To)
			}
		}
	}
	t.Fatalf("salvage %s: no account of %s:\n%s", machine, u.User, out)
	return nil
}

// folders are the mailboxes of the test by their names in a Maildir, where these differ.
var folders = map[string]string{".w&APY-rk&AC4-2.inner": "wörk.2/inner"}

var messageFile = regexp.MustCompile(`U(\d+)V\d+\.tandemail,S=\d+:2,([A-Za-z]*)$`)

func maildir(t *testing.T, dir string) map[string]kept {
	t.Helper()
	got := map[string]kept{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name, path := folders[e.Name()], filepath.Join(dir, e.Name(), "cur")
		switch {
		case e.Name() == "cur":
			name, path = "INBOX", filepath.Join(dir, "cur")
		case !strings.HasPrefix(e.Name(), "."):
			continue
		case name == "":
			name = e.Name()[1:]
		}
		got[name] = folder(t, path)
	}
	return got
}

func folder(t *testing.T, cur string) kept {
	t.Helper()
	letters := map[rune]string{'S': `\Seen`, 'R': `\Answered`, 'F': `\Flagged`, 'T': `\Deleted`, 'D': `\Draft`}
	if b, err := os.ReadFile(filepath.Join(filepath.Dir(cur), "dovecot-keywords")); err == nil {
		for line := range strings.Lines(string(b)) {
			number, word, _ := strings.Cut(strings.TrimSpace(line), " ")
			if n, err := strconv.Atoi(number); err == nil {
				letters['a'+rune(n)] = word
			}
		}
	}
	k := kept{}
	files, err := os.ReadDir(cur)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		m := messageFile.FindStringSubmatch(f.Name())
		if m == nil {
			t.Fatalf("file %s", f.Name())
		}
		octets, err := os.ReadFile(filepath.Join(cur, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		var flags []string
		for _, c := range m[2] {
			flags = append(flags, letters[c])
		}
		uid, err := strconv.ParseUint(m[1], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		k[uint32(uid)] = shown(flags, octets)
	}
	return k
}
